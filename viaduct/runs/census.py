"""How many rows each split and language has, counted once per file content and cached on disk.

Planning needs to know which data exist, whether they are labelled and how much text they hold; reading everything each
time would make `plan` slow. The cache is keyed by the files' SHA-256 and the card's version, so it never answers for
other files.
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
    """A cache of values of one type, keyed by file contents; `path`: the JSON file that keeps them, None to cache in
    this process only."""

    def __init__(self, path: Path | None, value: TypeAdapter[Kept]) -> None:
        self._path, self._value = path, value
        self.known: dict[str, Kept] = {}
        if path is not None and path.is_file():
            try:
                raw = json.loads(path.read_text(encoding="utf-8"))
                if raw.pop(CHECKSUM, None) in (None, _checksum(raw)):  # None: from before there were checksums
                    self.known = {key: value.validate_python(one) for key, one in raw.items()}
            except (OSError, ValueError, ValidationError, AttributeError, TypeError):
                self.known = {}  # only a cache: a damaged one is rewritten

    def save(self) -> None:
        """Write the file, if there is one."""
        if self._path is not None:
            content = {key: self._value.dump_python(one, mode="json") for key, one in self.known.items()}
            with contextlib.suppress(OSError):  # only a cache: the store may be someone else's, or full
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
    """Total characters in all texts of all rows."""
    fewest_texts: int
    """Fewest texts in any row: rows of some kinds may lack one, such as an image's description."""


class Census:
    """Row counts for one data folder; `memory`: the JSON file that caches them, None to cache in this process only."""

    def __init__(self, data: RecipeData, memory: Path | None = None) -> None:
        self.data = data
        self.memory = Memory(memory, TypeAdapter(Count))
        self._found: dict[tuple[str, str, str], Count] = {}

    def task(self, name: str) -> Task:
        """The card with this name. Raises UsageError that suggests the nearest name if there is none."""
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
        """The cache key of a count: the files' content and the card's version."""
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
    """The message with only the first of the searched places: a recipe may lack dozens of files."""
    what, found, places = text.partition("; looked for ")
    first, *others = places.split(", ")
    more = f" and {len(others)} other places" if others else ""
    return f"{what}{found}{first}{more}"
