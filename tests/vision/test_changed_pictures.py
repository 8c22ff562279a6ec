"""Replacing a picture changes the fingerprint of the data, in every format with pictures as separate files; nothing is
hashed twice, and a stage whose pictures change while it runs leaves nothing behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_towers
import small_world
from rich.console import Console
from small_world import add_cards, recipe
from test_archives import FOLDER
from test_captioned_cards import STORY, annotations, karpathy, put

from viaduct import api
from viaduct.errors import DataError
from viaduct.runs.execute import Options
from viaduct.runs.planned import plan_recipe
from viaduct.runs.rows import RecipeData
from viaduct.runs.spec import Intermediate, Target
from viaduct.runs.stage import Context, Spent, kind_of
from viaduct.tasks import hashes, used_files
from viaduct.tasks.card import Dataset, Files, Source, Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.vision.fields import Captions
from viaduct.vision.rows import Captioned, Picture

OWN = Task(
    name="own",
    title="Own",
    kind="captioned",
    languages=("en",),
    sources=(Source("official", {"rows": "own/metadata.jsonl"}, FOLDER),),
    licence="",
    citation="",
)
FLICKR8K = "flickr8k/Flickr8k_text/"
PHOTO = "7_ab.jpg"

FORMS = {
    "own": ("en", {"own/metadata.jsonl": '{"file_name": "a.jpg", "text": "A kite."}\n'}, "own/a.jpg"),
    "coco": (
        "en",
        {"coco/annotations/captions_train2017.json": annotations("A kite.")},
        "coco/train2017/000000000042.jpg",
    ),
    "coco_karpathy": (
        "en",
        {"coco/dataset_coco.json": karpathy(("COCO_val2014_000000000042.jpg", "train"))},
        "coco/val2014/COCO_val2014_000000000042.jpg",
    ),
    "flickr8k": (
        "en",
        {
            f"{FLICKR8K}Flickr8k.token.txt": f"{PHOTO}#0\tA kite .\n",
            f"{FLICKR8K}Flickr_8k.trainImages.txt": f"{PHOTO}\n",
        },
        f"flickr8k/Flicker8k_Dataset/{PHOTO}",
    ),
    "emoji": (
        "en",
        {"emoji/names.tsv": "codepoints\tgroup\tsubgroup\ten\n1f415\ta\tb\tdog\n"},
        "emoji/noto-emoji/png/72/emoji_u1f415.png",
    ),
    "storybooks": (
        "en",
        {"storybooks/asp-source/en/0001_a-boat.md": STORY, "storybooks/gsn-imagebank/0001/05.jpg": "back"},
        "storybooks/gsn-imagebank/0001/04.jpg",
    ),
}
"""Card -> (language, its files, one of its pictures)."""


def split_of(folder: DataFolder, name: str, language: str) -> str:
    """The split that contains the card's only row or story."""
    for split in ("train", "dev", "test"):
        try:
            folder.read(name, split, language)
        except DataError:
            continue
        return split
    raise AssertionError(name)


@pytest.mark.parametrize("name", FORMS)
def test_a_replaced_picture_changes_the_fingerprint_of_the_data(name: str, tmp_path: Path) -> None:
    language, files, picture = FORMS[name]
    for path, content in files.items():
        put(tmp_path, path, content)
    catalogue = Catalogue((*Catalogue.builtin(), OWN))
    folder = DataFolder(tmp_path, catalogue)
    split = split_of(folder, name, language)
    need = (name, split, language)

    def found() -> dict[str, str]:
        again = RecipeData(DataFolder(tmp_path, catalogue)).fingerprint([need])
        assert RecipeData(folder).fingerprint([need]) == again, "one that has seen the old picture says something else"
        return again

    bare = found()
    if name not in ("own", "storybooks"):  # their picture folder exists as soon as their rows do
        assert set(bare) == {" ".join(need)}, "captions without pictures are what they were"
    path = put(tmp_path, picture, "one")
    with_one = found()
    assert with_one[" ".join(need)] == bare[" ".join(need)], "the files that rows are read from are the same"
    state = path.stat()
    put(tmp_path, picture, "two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with_two = found()
    path.unlink()
    without = found()
    values = [one.get(f"{' '.join(need)} files") for one in (with_one, with_two, without)]
    assert values[0] and len(set(values)) == 3
    put(tmp_path, picture, "one")
    assert found() == with_one


@pytest.mark.parametrize("name", FORMS)
def test_rows_are_read_again_only_when_a_picture_or_a_caption_file_comes_goes_or_changes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language, files, picture = FORMS[name]
    for path, content in files.items():
        put(tmp_path, path, content)
    catalogue = Catalogue((*Catalogue.builtin(), OWN))
    need = (name, split_of(DataFolder(tmp_path, catalogue), name, language), language)
    known: dict[str, str] = {}
    read: list[object] = []
    original = used_files.read_located

    def note(*asked: Any) -> Dataset:
        read.append(asked)
        return original(*asked)

    def digest() -> str | None:
        """The digest that the next process finds, which is also what a process without any memory finds."""
        found = DataFolder(tmp_path, catalogue, known).used_digest(*need)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(used_files, "read_located", original)
            assert DataFolder(tmp_path, catalogue).used_digest(*need) == found
        return found

    monkeypatch.setattr(used_files, "read_located", note)
    changes: list[tuple[str, str | None]] = [(picture, "one"), (picture, "two"), (picture, None), (picture, "one")]
    changes += [
        (f"{picture}.other", "beside it"),
        ("coco/train2017/000000000042.jpg", "in a folder that was not there"),
    ]
    found = [digest()]
    for path, content in changes:
        (tmp_path / path).unlink() if content is None else put(tmp_path, path, content)
        found.append(digest())
        count = len(read)
        assert [digest(), len(read)] == [found[-1], count], "nothing has changed since, so rows are not read again"
    assert len(set(found[:3])) == 3 and found[2] != found[3] and found[1] == found[4] == found[5]
    count, file = len(read), tmp_path / next(iter(files))
    text = file.read_text(encoding="utf-8")
    other = text.replace("A kite", "A dog").replace("\tdog", "\tcow")
    file.write_text(other if other != text else f"{text}\n", encoding="utf-8")
    assert digest() == found[-1] and len(read) > count, "other captions may be of other pictures"


def test_pictures_are_hashed_once_and_known_to_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"file_name": f"{number}.jpg", "text": "A kite."}) for number in range(5)]
    put(tmp_path, "own/metadata.jsonl", "\n".join(lines))
    for number in range(5):
        put(tmp_path, f"own/{number}.jpg", f"picture {number}")
    hashed: list[str] = []
    original = hashes._sha256

    def note(path: Path, stamp: hashes.Stamp) -> str:
        hashed.append(path.name)
        return original(path, stamp)

    monkeypatch.setattr(hashes, "_sha256", note)
    known: dict[str, str] = {}
    found = [DataFolder(tmp_path, Catalogue((OWN,)), known).used_digest("own", "train", "en") for _ in range(3)]
    assert len(set(found)) == 1 and sorted(name for name in hashed if name.endswith(".jpg")) == [
        f"{number}.jpg" for number in range(5)
    ]
    assert DataFolder(tmp_path, Catalogue((OWN,))).used_digest("own", "train", "en") == found[0]


def read_shown(files: Files, language: str, split: str) -> Iterator[Captioned]:
    for path in sorted(files["rows"][0].parent.glob("*.png")):
        yield Captioned(path.stem, language, Picture(str(path)), (f"{split} {path.stem}",), "people")


SHOWN = Task(
    name="shown",
    title="Shown",
    kind="captioned",
    languages=("en",),
    sources=(Source("official", {"rows": "shown/{split}-{language}.tsv"}, read_shown),),
    licence="",
    citation="",
)
ASKED = recipe(
    intermediates=(Intermediate(name="none"), Intermediate(name="seen", captions=Captions(card="shown"))),
    targets=(Target(task="fruit"),),
    seeds=(1,),
)


@pytest.fixture
def shown(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small world with three pictures, and joint stages that only look at them."""
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    add_cards(monkeypatch.setattr, [SHOWN])
    (world / "shown").mkdir()
    for split in ("train", "dev"):
        (world / "shown" / f"{split}-en.tsv").write_text(split, encoding="utf-8")
    for number in range(3):
        small_towers.picture(number).save(world / "shown" / f"{number}.png")
    return world


def test_stages_that_see_a_picture_and_those_that_follow_change_with_it(shown: Path, tmp_path: Path) -> None:
    before = plan_recipe(ASKED, shown, tmp_path / "store").identities
    small_towers.picture(9).save(shown / "shown" / "1.png")
    after = plan_recipe(ASKED, shown, tmp_path / "store").identities
    changed = {path for path in before if before[path].fingerprint != after[path].fingerprint}
    assert changed == {path for path in before if path.startswith("mini/seen/")} != set()


@pytest.mark.parametrize("again", [False, True])
def test_pictures_that_change_while_a_stage_runs_stop_it(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    def look(context: Context, _work: object) -> Spent:
        context.load("shown", "train", "en")
        path = shown / "shown" / "1.png"
        state, other = path.stat(), shown / "other.png"
        small_towers.picture(1 if again else 9).save(other)
        if not again:
            path.write_bytes(other.read_bytes())
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        return small_world.run(context)

    monkeypatch.setattr(kind_of("joint"), "run", look)
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    quiet, store = Console(quiet=True), tmp_path / "store"
    if again:
        api.run(ASKED, data=shown, store=store, options=options, console=quiet, command="")
        assert (store / "cache" / "used_files.json").is_file()
        return
    with pytest.raises(DataError, match=r"shown train en files: .*have changed since the run was planned"):
        api.run(ASKED, data=shown, store=store, options=options, console=quiet, command="")
    assert not list(store.glob("mini/seen/**/joint/stage.json"))
