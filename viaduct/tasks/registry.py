"""Every card, explicitly. Adding a dataset is one file and one line here, or a file of your own that a recipe names: a
Python file with a card, or a TOML or YAML file that `mapping` makes one of."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Iterable
from pathlib import Path

from viaduct.errors import UsageError, unknown
from viaduct.languages import language
from viaduct.tasks.anli import CARD as ANLI
from viaduct.tasks.anli import PLUS as ANLI_PLUS
from viaduct.tasks.bucc import CARD as BUCC
from viaduct.tasks.card import Task
from viaduct.tasks.ccg import CARD as CCG
from viaduct.tasks.ccg_pmb import CARD as CCG_PMB
from viaduct.tasks.commonsenseqa import CARD as COMMONSENSEQA
from viaduct.tasks.cosmosqa import CARD as COSMOSQA
from viaduct.tasks.hellaswag import CARD as HELLASWAG
from viaduct.tasks.mapping import SUFFIXES, load_mapping
from viaduct.tasks.mlqa import CARD as MLQA
from viaduct.tasks.mnli import CARD as MNLI
from viaduct.tasks.mnli import MISMATCHED as MNLI_MISMATCHED
from viaduct.tasks.ntrex import CARD as NTREX
from viaduct.tasks.panx import CARD as PANX
from viaduct.tasks.pawsx import CARD as PAWSX
from viaduct.tasks.qqp import BIMPM as QQP_BIMPM
from viaduct.tasks.qqp import CARD as QQP
from viaduct.tasks.snli import CARD as SNLI
from viaduct.tasks.squad import CARD as SQUAD
from viaduct.tasks.squad2 import CARD as SQUAD2
from viaduct.tasks.tatoeba import CARD as TATOEBA
from viaduct.tasks.text import CARD as TEXT
from viaduct.tasks.tydiqa import CARD as TYDIQA
from viaduct.tasks.udpos import CARD as UDPOS
from viaduct.tasks.xcopa import CARD as XCOPA
from viaduct.tasks.xcopa import COPA
from viaduct.tasks.xnli import CARD as XNLI
from viaduct.tasks.xquad import CARD as XQUAD
from viaduct.vision.cards.coco import CARD as COCO
from viaduct.vision.cards.coco import KARPATHY as COCO_KARPATHY
from viaduct.vision.cards.emoji import CARD as EMOJI
from viaduct.vision.cards.flickr8k import CARD as FLICKR8K
from viaduct.vision.cards.flickr30k import CARD as FLICKR30K
from viaduct.vision.cards.multi30k import CARD as MULTI30K
from viaduct.vision.cards.multi30k import TASK2 as MULTI30K_TASK2
from viaduct.vision.cards.storybooks import CARD as STORYBOOKS
from viaduct.vision.cards.xflickrco import CARD as XFLICKRCO
from viaduct.vision.cards.xm3600 import CARD as XM3600

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
    XCOPA,
    MNLI,
    MNLI_MISMATCHED,
    SNLI,
    ANLI,
    ANLI_PLUS,
    QQP,
    QQP_BIMPM,
    SQUAD,
    SQUAD2,
    HELLASWAG,
    COSMOSQA,
    COMMONSENSEQA,
    CCG,
    CCG_PMB,
    COPA,
    TEXT,
    NTREX,
    COCO,
    COCO_KARPATHY,
    FLICKR30K,
    FLICKR8K,
    MULTI30K,
    MULTI30K_TASK2,
    XM3600,
    XFLICKRCO,
    EMOJI,
    STORYBOOKS,
)

_BY_NAME = {card.name: card for card in TASKS}
if len(_BY_NAME) != len(TASKS):  # pragma: no cover  a programmer's mistake, found at import
    raise AssertionError("two cards have the same name")


def known(name: str) -> bool:
    """Whether there is a card of this name."""
    return name in _BY_NAME


def task(name: str) -> Task:
    """The card of this name. Raises UsageError with the nearest name when there is none."""
    if name not in _BY_NAME:
        raise unknown("task", name, _BY_NAME)
    return _BY_NAME[name]


_FILE_OF: dict[str, Path] = {}

CARD_FILES = (".py", *SUFFIXES)
"""How the names of files with a card of one's own end."""


def add_cards(paths: Iterable[str]) -> tuple[Task, ...]:
    """The cards in these files (a Python file has a `CARD`), from now on known by name beside the built-in ones.

    A file may be given again. Raises UsageError for a file that is missing, fails, has no CARD or is no such file, and
    for a name that is taken.
    """
    added = []
    for path in (Path(given).resolve() for given in paths):
        card = _card_of_file(path)
        if card.name in _BY_NAME and _FILE_OF.get(card.name) != path:
            where = _FILE_OF.get(card.name, "Viaduct's own cards")
            raise UsageError(f"{path}: the name '{card.name}' is taken by {where}", fix="give your card another name")
        _BY_NAME[card.name] = card
        _FILE_OF[card.name] = path
        added.append(card)
    return tuple(added)


def _card_of_file(path: Path) -> Task:
    if not path.is_file():
        raise UsageError(f"there is no card file {path}", fix="write its path relative to the recipe's own folder")
    if path.suffix in SUFFIXES:
        return load_mapping(path)
    if path.suffix != ".py":
        raise UsageError(f"{path} is no card file", fix=f"its name ends in {', '.join(CARD_FILES)}")
    try:
        card = runpy.run_path(str(path), run_name="viaduct_card").get("CARD")
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise UsageError(f"{where}: {type(error).__name__}: {error}", fix="mend the card file") from error
    if not isinstance(card, Task):
        raise UsageError(f"{path}: the file has no CARD", fix="end it with CARD = Task(...)")
    for code in card.languages:
        language(code)
    return card
