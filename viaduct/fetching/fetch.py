"""Fetches requested data that are missing, and checks all data with the usual reader against the published counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from viaduct.errors import DataError
from viaduct.fetching import publishers
from viaduct.fetching.download import Progress
from viaduct.fetching.hub_files import HubFiles
from viaduct.fetching.places import Piece, fetch_pieces, places
from viaduct.fetching.publishers import PublishedFile
from viaduct.languages import ENGLISH
from viaduct.results.xtreme import TARGETS
from viaduct.runs.census import Census
from viaduct.runs.rows import Need, RecipeData
from viaduct.tasks.card import Task, splits_of
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

STRIPPED = "xtreme"
"""The layout whose test files have had their labels removed."""


@dataclass(frozen=True)
class Arrival:
    """The state of one split in one language after fetching."""

    task: str
    split: str
    language: str
    state: Literal["there", "fetched", "not published", "missing"]
    """"not published": nothing indicates that this split exists in this language."""
    rows: int | None = None
    published: int | None = None
    """Published number of rows; None if unknown."""
    why: str = ""
    """Why it is missing."""


class Errand:
    """A request for data in one folder."""

    def __init__(
        self, wanted: Iterable[Need], data: Path, catalogue: Catalogue, memory: Path | None, mirrors: Sequence[str] = ()
    ) -> None:
        """`memory`: the file that caches row counts, so that the same files are not read again."""
        self.data, self.catalogue, self.memory, self.mirrors = data, catalogue, memory, mirrors
        self.wanted = tuple(dict.fromkeys(one for need in wanted for one in self._parts(need)))
        self.waiting = self._problems(self.wanted)
        """What is requested but missing -> why."""
        self._there = {one for one in self.wanted if one not in self.waiting}

    def _parts(self, need: Need) -> Iterator[Need]:
        """The need itself; for a card that joins others, the needs of those."""
        parts = self.catalogue.task(need[0]).parts
        yield from ((part.name, *need[1:]) for part in parts) if parts else (need,)

    @property
    def tasks(self) -> list[Task]:
        """The cards of the missing data that can be fetched."""
        names = dict.fromkeys(need[0] for need in self.waiting if self._places(need))
        return [self.catalogue.task(name) for name in names]

    def run(self, progress: Progress) -> list[Arrival]:
        """Fetch what is missing; if a place fails or has other rows than were published, try the next one."""
        failed: dict[Piece, str] = {}
        most = max((len(self._places(need)) for need in self.waiting), default=0)
        for turn in range(most):
            asked = {need: self._places(need)[turn : turn + 1] for need in self.waiting}
            pieces = dict.fromkeys(piece for place in asked.values() for one in place for piece in one)
            failed |= fetch_pieces([one for one in pieces if one not in failed], self.data, self.mirrors, progress)
            self.waiting = self._problems(self.waiting)
        return [self._arrival(need, failed) for need in self.wanted]

    def _places(self, need: Need) -> tuple[tuple[Piece, ...], ...]:
        return places(self.catalogue.task(need[0]), *need[1:])

    def _census(self) -> Census:
        """A fresh census, which has not recorded anything as missing yet."""
        return Census(RecipeData(DataFolder(self.data, self.catalogue)), self.memory)

    def _problems(self, needs: Iterable[Need]) -> dict[Need, str]:
        census = self._census()
        problems = {need: _problem(census, need) for need in needs}
        census.memory.save()
        return {need: problem for need, problem in problems.items() if problem is not None}

    def _arrival(self, need: Need, failed: Mapping[Piece, str]) -> Arrival:
        task, split, language = need
        published = self.catalogue.task(task).expected.get((language, split))
        if need not in self.waiting:
            count = self._census().count(*need)
            return Arrival(*need, "there" if need in self._there else "fetched", count.found, published)
        said = [failed[piece] for place in self._places(need) for piece in place if piece in failed]
        said += [self.waiting[need]] if self._census().data.folder.has(task, split, language) else []
        if published is None and not said and self._places(need):
            return Arrival(*need, "not published")
        return Arrival(*need, "missing", None, published, "\n  ".join(dict.fromkeys(said)) or self._advice(need))

    def _advice(self, need: Need) -> str:
        """What to do about data that are still missing although nothing failed."""
        by_hand = publishers.BY_HAND.get(need[0])
        if not self._places(need):
            return by_hand or f"no known place provides it; `viaduct tasks {need[0]}` says where it is looked for"
        return self.waiting[need] if by_hand is None else f"{self.waiting[need]}; {by_hand}"


def _problem(census: Census, need: Need) -> str | None:
    """Why these rows are not what was published; None if they are."""
    try:
        count = census.count(*need)
    except DataError as error:
        return str(error).partition("; looked for ")[0]
    card, (_, split, language) = census.task(need[0]), need
    published = card.expected.get((language, split))
    if published is not None and count.found != published:
        return f"there are {count.found:,} rows, but {published:,} were published"
    if count.layout == STRIPPED and not count.labelled and card.row_kind.has_gold:
        return "there are no gold labels"
    return None


def whole_tasks(names: Collection[str], languages: Sequence[str] | None, catalogue: Catalogue) -> list[Need]:
    """The needs of the named tasks: every split in all languages, or only in `languages`.

    Labelled training rows are fetched in English and in `languages` only; "xtreme" means everything that an evaluation
    on the nine tasks reads. Raises UsageError for an unknown name.
    """
    wanted: list[Need] = []
    for name in names:
        if name == "xtreme":
            wanted += [need for target in TARGETS for need in _evaluated(catalogue.task(target), languages)]
        else:
            card = catalogue.task(name)
            wanted += [need for split in splits_of(card) for need in _of_split(card, split, languages)]
    return wanted


def _of_split(card: Task, split: str, languages: Sequence[str] | None) -> list[Need]:
    codes: Sequence[str] = card.languages if languages is None else [one for one in languages if one in card.languages]
    if split == "train" and card.row_kind.has_gold and ENGLISH in card.languages:
        codes = [ENGLISH, *(one for one in codes if languages is not None and one != ENGLISH)]
    return [(card.name, split, code) for code in codes]


def _evaluated(card: Task, languages: Sequence[str] | None) -> list[Need]:
    """What an evaluation on this task reads."""
    tuned = [need for split in card.row_kind.tuned_on for need in _of_split(card, split, languages)]
    trained = [] if card.trained_on is None else [(card.trained_on, split, ENGLISH) for split in ("train", "dev")]
    return [*_of_split(card, "test", languages), *tuned, *trained]


def licences(errand: Errand) -> list[str]:
    """One line per card about to be fetched: its licence, where it comes from, and its size."""
    lines = []
    for card in errand.tasks:
        firsts = [places(card, *need[1:])[:1] for need in errand.waiting if need[0] == card.name]
        pieces = dict.fromkeys(piece for place in firsts for one in place for piece in one)
        hosts = dict.fromkeys(_host(piece) for piece in pieces)
        sizes = [piece.size for piece in pieces if isinstance(piece, PublishedFile)]
        known = sum(size for size in sizes if size is not None)
        size = f", {known / 1e6:,.1f} MB" if known else ""
        more = " and more" if known and None in sizes else ""
        lines.append(f"{card.name}: {card.title}; licence: {card.licence}; from {', '.join(hosts)}{size}{more}")
    return lines


def _host(piece: Piece) -> str:
    return f"the Hub's {piece.repository}" if isinstance(piece, HubFiles) else urlsplit(piece.address).netloc
