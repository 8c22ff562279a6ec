"""The experiment of arXiv 2005.13013 by names: XTREME's nine target tasks, and nine intermediate tasks before them.

XTREME's folders and averages are those of google-research/xtreme at 838c13b (evaluate.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from viaduct.results.scores import Member

Shape: TypeAlias = Literal["lines", "tags", "pairs", "answers"]
"""Of a submission's files: a label or an index per line, a tag per line, two ids per line, JSON."""


@dataclass(frozen=True, slots=True)
class Folder(Member):
    """One task of a submission; the card has the folder's name, but for BUCC."""

    shape: Shape

    def path(self, root: Path, language: str) -> Path:
        """The file of one language below a folder of labels or predictions."""
        return root / self.name / f"test-{language}.{'json' if self.shape == 'answers' else 'tsv'}"


FOLDERS = (
    Folder("xnli", "xnli", "classification", "lines"),
    Folder("pawsx", "pawsx", "classification", "lines"),
    Folder("udpos", "udpos", "tagging", "tags"),
    Folder("panx", "panx", "tagging", "tags"),
    Folder("xquad", "xquad", "qa", "answers"),
    Folder("mlqa", "mlqa", "qa", "answers"),
    Folder("tydiqa", "tydiqa", "qa", "answers"),
    Folder("bucc2018", "bucc", "retrieval", "pairs"),
    Folder("tatoeba", "tatoeba", "retrieval", "lines"),
)

TARGETS = tuple(folder.card for folder in FOLDERS)
"""Cards of the nine tasks, in XTREME's order."""

INTERMEDIATES = ("anli_plus", "mnli", "qqp", "squad2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")
"""Cards of the nine intermediate tasks, which are also the roles of the arms that train on one of them."""
