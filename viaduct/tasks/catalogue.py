"""The cards known to one recipe or session: Viaduct's own, those of the rooms, and those in the user's files.

To add a dataset, add one file and its name in `room.py`, or name a file of your own in a recipe: a Python file with a
card, or a TOML or YAML file that `mapping` turns into one.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from viaduct.doors import offered
from viaduct.errors import UsageError, line_in, unknown
from viaduct.languages import language
from viaduct.tasks.card import Task
from viaduct.tasks.kind import row_kind
from viaduct.tasks.mapping import SUFFIXES, load_mapping

CARD_FILES = (".py", *SUFFIXES)
"""Suffixes of users' own card files."""


class Catalogue:
    """Cards by name, in a fixed order; immutable."""

    def __init__(self, cards: Iterable[Task], files: Mapping[str, Path] | None = None) -> None:
        """`files`: card name -> the user's file it comes from. Raises UsageError if two cards have the same name."""
        self._cards: dict[str, Task] = {}
        self._files = dict(files or {})
        for card in cards:
            if card.name in self._cards:
                raise UsageError(f"two cards have the name '{card.name}'", fix="rename one of them")
            self._cards[card.name] = card

    @classmethod
    def builtin(cls) -> Catalogue:
        """Viaduct's own cards and those of the rooms."""
        return cls(offered("cards", Task).values())

    def with_files(self, paths: Iterable[str | Path]) -> Catalogue:
        """A catalogue with these cards and those in the files (a Python file has a `CARD`); a file may be given again.

        Raises UsageError for a file that is missing, fails, has no CARD or is not a card file, and for a name that is
        taken.
        """
        cards, files = dict(self._cards), dict(self._files)
        for path in (Path(given).resolve() for given in paths):
            card = card_of_file(path)
            if card.name in cards and files.get(card.name) != path:
                where = files.get(card.name, "Viaduct's own cards")
                raise UsageError(
                    f"{path}: the name '{card.name}' is taken by {where}", fix="give your card another name"
                )
            cards[card.name], files[card.name] = card, path
        return Catalogue(cards.values(), files)

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's files, from which another process can build the same catalogue."""
        return tuple(self._files.values())

    def task(self, name: str) -> Task:
        """The card with this name. Raises UsageError with the nearest name if there is none."""
        if name not in self._cards:
            raise unknown("task", name, self._cards)
        return self._cards[name]

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def __iter__(self) -> Iterator[Task]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)


def card_of_file(path: Path) -> Task:
    """The card in one of the user's files. Raises UsageError if there is no valid one."""
    if not path.is_file():
        raise UsageError(f"there is no card file {path}", fix="check it; a recipe's paths start from its folder")
    if path.suffix in SUFFIXES:
        return load_mapping(path)
    if path.suffix != ".py":
        raise UsageError(f"{path} is not a card file", fix=f"use a file whose name ends in {', '.join(CARD_FILES)}")
    try:
        card = runpy.run_path(str(path), run_name="viaduct_card").get("CARD")
    except (Exception, SystemExit) as error:
        message = f"{path}{line_in(error, path)}: {type(error).__name__}: {error}"
        raise UsageError(message, fix="correct the card file") from error
    if not isinstance(card, Task):
        raise UsageError(f"{path}: the file has no CARD", fix="end it with CARD = Task(...)")
    for code in card.languages:
        if (ours := language(code).code) != code:
            fix = "write that in the card, and the word used in file names in the source's `languages`"
            raise UsageError(f"{path}: language '{code}' is called '{ours}' here", fix=fix)
    row_kind(card.kind)
    return card
