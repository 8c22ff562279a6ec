"""Every card, explicitly. Adding a dataset is one file and one line here."""

from __future__ import annotations

from viaduct.errors import unknown
from viaduct.tasks.card import Task

TASKS: tuple[Task, ...] = ()

_BY_NAME = {card.name: card for card in TASKS}
if len(_BY_NAME) != len(TASKS):  # pragma: no cover  a programmer's mistake, found at import
    raise AssertionError("two cards have the same name")


def task(name: str) -> Task:
    """The card of this name. Raises UsageError with the nearest name when there is none."""
    if name not in _BY_NAME:
        raise unknown("task", name, _BY_NAME)
    return _BY_NAME[name]
