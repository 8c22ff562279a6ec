"""Which of a card's languages a folder has, for tests that check several cards."""

from __future__ import annotations

from pathlib import Path

from viaduct.errors import NoRowsError
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder


def languages_there(card: Task, data: Path, split: str) -> tuple[str, ...]:
    """The card's languages that have rows for this split, with labels if its kind has any."""
    folder = DataFolder(data, Catalogue((card,)))
    there = [language for language in card.languages if folder.has(card.name, split, language)]
    return tuple(
        language for language in there if not card.row_kind.has_gold or _labelled(folder, card, split, language)
    )


def _labelled(folder: DataFolder, card: Task, split: str, language: str) -> bool:
    try:
        return folder.read(card.name, split, language).labelled
    except NoRowsError:  # a file shared by several languages, but without this one
        return False
