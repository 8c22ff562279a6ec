"""Every card, explicitly. Adding a dataset is one file and one line here."""

from __future__ import annotations

from viaduct.errors import unknown
from viaduct.tasks.bucc import CARD as BUCC
from viaduct.tasks.card import Task
from viaduct.tasks.mlqa import CARD as MLQA
from viaduct.tasks.mnli import CARD as MNLI
from viaduct.tasks.ntrex import CARD as NTREX
from viaduct.tasks.panx import CARD as PANX
from viaduct.tasks.pawsx import CARD as PAWSX
from viaduct.tasks.squad import CARD as SQUAD
from viaduct.tasks.tatoeba import CARD as TATOEBA
from viaduct.tasks.text import CARD as TEXT
from viaduct.tasks.tydiqa import CARD as TYDIQA
from viaduct.tasks.udpos import CARD as UDPOS
from viaduct.tasks.xnli import CARD as XNLI
from viaduct.tasks.xquad import CARD as XQUAD

TASKS: tuple[Task, ...] = (
    XNLI,
    PAWSX,
    UDPOS,
    PANX,
    XQUAD,
    MLQA,
    TYDIQA,
    BUCC,
    TATOEBA,
    MNLI,
    SQUAD,
    TEXT,
    NTREX,
)

_BY_NAME = {card.name: card for card in TASKS}
if len(_BY_NAME) != len(TASKS):  # pragma: no cover  a programmer's mistake, found at import
    raise AssertionError("two cards have the same name")


def task(name: str) -> Task:
    """The card of this name. Raises UsageError with the nearest name when there is none."""
    if name not in _BY_NAME:
        raise unknown("task", name, _BY_NAME)
    return _BY_NAME[name]
