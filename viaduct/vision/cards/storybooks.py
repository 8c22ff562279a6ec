"""Global Storybooks: picture books for children, translated by people; the text of a page is its picture's caption.

    storybooks/asp-source/en/0000_a-small-boat.md (originals), storybooks/global-asp/de/0000_ein-boot.md (translations):
        # A small boat

        ##
        The boat was red.

        ##
        * License: [CC-BY]
    storybooks/gsn-imagebank/0000/02.jpg

The k-th block under `##` is page k and belongs to picture k + 1 (01.jpg is the cover); the last block has the credits.
Train, dev and test have different stories, the same in all languages, by the hash of the story's number (80, 10, 10
percent), so that no drawing style and no character of a test story occurs in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from viaduct.errors import DataError, NoRowsError
from viaduct.languages import LANGUAGES
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import numbered_lines, without_end
from viaduct.vision.caption_files import caption_text, find_picture, part_of
from viaduct.vision.rows import Captioned

_NAME = re.compile(r"(\d{4})_.*\.md")
_CREDITS = "* License:"


def read(files: Files, language: str, split: str) -> Iterator[Captioned]:
    """The pages with text of the split's stories; ids are "story/picture", such as "0001/02".

    Raises DataError for a file without a story number or credits, a number that two files have, and a story whose
    number of pages does not match its pictures; NoRowsError if the language has no story of the split.
    """
    stories: dict[str, Path] = {}
    for path in files["rows"]:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError("its name is not NUMBER_title.md", path=path, fix="keep its published name")
        if match[1] in stories:
            raise DataError(f"story {match[1]} is also {stories[match[1]].name}", path=path, fix="remove one of them")
        stories[match[1]] = path
    chosen = {story: path for story, path in stories.items() if part_of("storybooks", story) == split}
    if not chosen:
        raise NoRowsError(f"no story of {split} is available in '{language}'", path=files["rows"][0].parent)
    for story, path in chosen.items():
        yield from _story(path, story, language)


def _story(path: Path, story: str, language: str) -> Iterator[Captioned]:
    texts = pages(path)
    folder = path.parents[2] / "gsn-imagebank" / story
    last = max((int(file.stem) for file in folder.glob("*.jpg") if file.stem.isdecimal()), default=None)
    if last is not None and len(texts) not in (last - 1, last - 2):  # a cover, and perhaps a back cover
        raise DataError(
            f"{len(texts)} pages, but the last picture is number {last}: page k would not belong to picture k + 1",
            path=path,
            fix=f"compare the file with the pictures in {folder}",
        )
    for number, (line, text) in enumerate(texts, start=2):
        if text:
            picture = find_picture(folder / f"{number:02d}.jpg")
            caption = caption_text(text, path, line)
            yield Captioned(f"{story}/{number:02d}", language, picture, (caption,), "people")


def pages(path: Path) -> list[tuple[int, str]]:
    """(line of its `##`, text) of every page, "" for a page without words. Raises DataError for a file without
    credits."""
    blocks: list[tuple[int, list[str]]] = []
    for number, line in numbered_lines(path):
        text = without_end(line)
        if text.strip() == "##":
            blocks.append((number, []))
        elif blocks:
            blocks[-1][1].append(text)
    texts = [(number, "\n".join(lines).strip()) for number, lines in blocks]
    if not texts or not texts[-1][1].startswith(_CREDITS):
        raise DataError(
            f"its last block does not begin with '{_CREDITS}'", path=path, fix="download it again: it may be cut off"
        )
    return texts[:-1]


CARD = Task(
    name="storybooks",
    title="Global Storybooks",
    kind="captioned",
    languages=tuple(LANGUAGES),
    sources=sources("official", read, "storybooks/asp-source/{language}/*.md", "storybooks/global-asp/{language}/*.md"),
    licence="CC BY 3.0 or 4.0, story by story (some stories upstream are CC BY-NC: see gsn-imagebank's list)",
    citation="African Storybook (africanstorybook.org); Global Storybooks (globalstorybooks.net)",
    differs="The division into splits is ours: there is no published one. Covers and back covers have no text.",
)
