"""Older names for what `catalogue` does, for callers that are not handed a catalogue yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from viaduct.errors import UsageError, unknown
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import CARD_FILES, Catalogue, card_of_file

__all__ = ["CARD_FILES", "TASKS", "add_cards", "known", "task"]

TASKS: tuple[Task, ...] = tuple(Catalogue.builtin())

_BY_NAME = {card.name: card for card in TASKS}
_FILE_OF: dict[str, Path] = {}


def known(name: str) -> bool:
    """Whether there is a card of this name."""
    return name in _BY_NAME


def task(name: str) -> Task:
    """The card of this name. Raises UsageError with the nearest name when there is none."""
    if name not in _BY_NAME:
        raise unknown("task", name, _BY_NAME)
    return _BY_NAME[name]


def add_cards(paths: Iterable[str]) -> tuple[Task, ...]:
    """The cards in these files, from now on known by name beside the built-in ones."""
    added = []
    for path in (Path(given).resolve() for given in paths):
        card = card_of_file(path)
        if card.name in _BY_NAME and _FILE_OF.get(card.name) != path:
            where = _FILE_OF.get(card.name, "Viaduct's own cards")
            raise UsageError(f"{path}: the name '{card.name}' is taken by {where}", fix="give your card another name")
        _BY_NAME[card.name] = card
        _FILE_OF[card.name] = path
        added.append(card)
    return tuple(added)
