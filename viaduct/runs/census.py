"""How many rows each split and language has, counted once per content of the files and remembered on disk.

Planning has to know what is there, whether it is labelled and how much text it is; reading everything each time would
make `plan` slow. The memory is keyed by the files' SHA-256 and the card's version, so it never answers for other files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from viaduct.errors import DataError, NoRowsError
from viaduct.results.record import DataNote, Record
from viaduct.results.writing import canonical, write_atomic
from viaduct.runs.rows import RecipeData
from viaduct.tasks.card import Task

Kept = TypeVar("Kept")


class Memory(Generic[Kept]):
    """Values of a type by keys that follow from files' content; `path`: a JSON file that keeps them, None to remember
    within the process only."""

    def __init__(self, path: Path | None, value: TypeAdapter[Kept]) -> None:
        self._path, self._value = path, value
        self.known: dict[str, Kept] = {}
        if path is not None and path.is_file():
            try:
                raw = json.loads(path.read_text(encoding="utf-8"))
                if raw.pop(CHECKSUM, None) in (None, _checksum(raw)):  # None: of before there was one
                    self.known = {key: value.validate_python(one) for key, one in raw.items()}
            except (OSError, ValueError, ValidationError, AttributeError):
                self.known = {}  # only a cache: a damaged one is written anew

    def save(self) -> None:
        """Write the file, if there is one."""
        if self._path is not None:
            content = {key: self._value.dump_python(one, mode="json") for key, one in self.known.items()}
            with contextlib.suppress(OSError):  # only a cache: a store may be another's, or full
                write_atomic(self._path, canonical({**content, CHECKSUM: _checksum(content)}))


CHECKSUM = "sha256"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


class Count(Record):
    """What one split of one language holds."""

    found: int
    published: int | None
    layout: str
    labelled: bool
    characters: int
    """Of all texts of all rows."""
    fewest_texts: int
    """Of a row: some kinds' rows may lack one, such as what an image shows in words."""


class Census:
    """Counts for one data folder; `memory` is a JSON file that it keeps, None to remember within the process only."""

    def __init__(self, data: RecipeData, memory: Path | None = None) -> None:
        self.data = data
        self.memory = Memory(memory, TypeAdapter(Count))
        self._found: dict[tuple[str, str, str], Count] = {}

    def task(self, name: str) -> Task:
        """The card of this name. Raises UsageError with the nearest name when there is none."""
        return self.data.task(name)

    def problem(self, task: str, split: str, language: str, *, labelled: bool) -> str | None:
        """Why this split cannot be used, None when it can. Damaged files raise DataError."""
        if language not in self.task(task).languages:
            return f"{task} has no {language}"
        try:
            located = self.data.folder.locate(task, split, language)
        except DataError as error:
            return _short(str(error).partition("\n")[0].removeprefix(f"{self.data.root}: "))
        try:
            without = labelled and not self.count(task, split, language).labelled
        except NoRowsError:
            return f"{located.paths[0].name} has no rows of language {language} ({task} {split})"
        if without:
            return f"{located.paths[0].name} has no gold labels ({task} {split} {language})"
        return None

    def count(self, task: str, split: str, language: str) -> Count:
        """The counts of one split of one language. Raises DataError when its files are missing or damaged."""
        if (found := self._found.get((task, split, language))) is not None:
            return found
        key, counts = self._key(task, split, language), self.memory.known
        if key not in counts:
            dataset = self.data.folder.read(task, split, language)
            counts[key] = Count(
                found=len(dataset.rows),
                published=dataset.expected,
                layout=dataset.layout,
                labelled=dataset.labelled,
                characters=sum(row.characters for row in dataset.rows),
                fewest_texts=min(len(row.texts) for row in dataset.rows),
            )
        return self._found.setdefault((task, split, language), counts[key])

    def _key(self, task: str, split: str, language: str) -> str:
        """What a count is remembered by: the files' content and the card's version."""
        files = json.dumps(list(self.data.folder.digest(task, split, language)))
        digest = hashlib.sha256(files.encode()).hexdigest()[:32]
        return f"{task} {self.task(task).version} {split} {language} {digest}"

    def note(self, task: str, split: str, language: str) -> DataNote:
        """The counts as a note for the report."""
        count = self.count(task, split, language)
        return DataNote(
            task=task, split=split, language=language, layout=count.layout, found=count.found, published=count.published
        )


def _short(text: str) -> str:
    """The same with the first of the places looked at only: a recipe may lack dozens of files."""
    what, found, places = text.partition("; looked for ")
    first, *others = places.split(", ")
    more = f" and {len(others)} other places" if others else ""
    return f"{what}{found}{first}{more}"
