"""A data folder as one run or session sees it: files are found once, rows are read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from pathlib import Path

from viaduct.errors import DataError
from viaduct.tasks.card import Dataset, Located, Task, locate, read_located
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.hashes import Stamp, file_sha256, stamp
from viaduct.tasks.used_files import Folders, used_digest

REMEMBERED = 64
"""Number of labelled datasets whose rows are kept in memory."""


def _stamps(located: Located) -> tuple[Stamp, ...]:
    found = []
    for path in located.paths:
        try:
            found.append(stamp(path))
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    return tuple(found)


class DataFolder:
    """The files below one data folder, accessed by the names of a catalogue's cards."""

    def __init__(self, root: Path, catalogue: Catalogue, known: MutableMapping[str, str] | None = None) -> None:
        """`known`: the cache of `used_digest`; one that is kept on disk saves the next process the work."""
        self.root = root
        self.catalogue = catalogue
        self._known: MutableMapping[str, str] = {} if known is None else known
        self._located: dict[tuple[str, str, str], Located | str] = {}
        self._datasets: OrderedDict[tuple[str, str, str], tuple[tuple[Stamp, ...], Dataset]] = OrderedDict()

    def task(self, name: str) -> Task:
        """The card with this name. Raises UsageError with the nearest name if there is none."""
        return self.catalogue.task(name)

    def locate(self, task: str, split: str, language: str) -> Located:
        """The files of this split and language, searched for only once.

        Raises UsageError for an unknown name, DataError listing every place searched if there are none.
        """
        key = (task, split, language)
        if key not in self._located:
            try:
                self._located[key] = locate(self.task(task), self.root, language, split)
            except DataError as error:
                self._located[key] = str(error)
        found = self._located[key]
        if isinstance(found, str):
            raise DataError(found)
        return found

    def has(self, task: str, split: str, language: str) -> bool:
        """Whether files of this split and language exist. Raises UsageError for an unknown name."""
        try:
            self.locate(task, split, language)
        except DataError:
            return False
        return True

    def read(self, task: str, split: str, language: str) -> Dataset:
        """The checked rows of this split and language, see `card.read_located`.

        Rows of the `REMEMBERED` most recently used labelled datasets are cached until their files change; those of
        kinds without labels (plain text above all) are large, read once, and not cached. Raises as `locate` does, and
        DataError for damaged files.
        """
        card, located = self.task(task), self.locate(task, split, language)
        if not card.row_kind.has_gold:
            return read_located(card, located, language, split)
        key, stamps = (task, split, language), _stamps(located)
        if key in self._datasets and self._datasets[key][0] == stamps:
            self._datasets.move_to_end(key)
            return self._datasets[key][1]
        dataset = read_located(card, located, language, split)
        self._datasets[key] = (stamps, dataset)
        self._datasets.move_to_end(key)
        if len(self._datasets) > REMEMBERED:
            self._datasets.popitem(last=False)
        return dataset

    def digest(self, task: str, split: str, language: str) -> tuple[str, ...]:
        """The layout and the SHA-256 of every file of this split and language; file names are not included."""
        located = self.locate(task, split, language)
        return (located.source.layout, *map(file_sha256, located.paths))

    def used_digest(self, task: str, split: str, language: str, folders: Folders | None = None) -> str | None:
        """SHA-256 of the other files that the rows refer to, such as images; None if there are none.
        See `used_files.used_digest`; `folders` are trusted not to change. Raises as `read` does."""
        located = self.locate(task, split, language)
        return used_digest(self.task(task), located, split, language, self._known, folders or Folders())
