"""The experiment of arXiv 2005.13013: XTREME's nine target tasks, and nine intermediate tasks before them.

XTREME's folders and averages are those of google-research/xtreme at 838c13b (evaluate.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viaduct.metrics.official import FileScore
from viaduct.metrics.qa import MLQA
from viaduct.results.scores import Member
from viaduct.results.xtreme_formats import INDICES, LABELS, PAIRS, TAGS, Answers, FilePair, Format
from viaduct.tasks import bucc, mlqa, panx, pawsx, tatoeba, tydiqa, udpos, xnli, xquad


@dataclass(frozen=True, eq=False)
class Folder(Member):
    """One task of a submission; the folder has the card's name, except for BUCC."""

    format: Format

    def path(self, root: Path, language: str) -> Path:
        """The file of one language below a folder of labels or predictions."""
        return root / self.name / f"test-{language}.{self.format.suffix}"

    def score(self, predictions: Path, labels: Path, language: str, *, official: bool) -> FileScore:
        """The scores of one language below these folders, see `xtreme_formats`."""
        given, gold = (self.path(root, language) for root in (predictions, labels))
        return self.format.score(FilePair(self.card, language, given, gold, official))


FOLDERS = (
    Folder("xnli", xnli.CARD, "classification", LABELS),
    Folder("pawsx", pawsx.CARD, "classification", LABELS),
    Folder("udpos", udpos.CARD, "tagging", TAGS),
    Folder("panx", panx.CARD, "tagging", TAGS),
    Folder("xquad", xquad.CARD, "qa", Answers()),
    Folder("mlqa", mlqa.CARD, "qa", Answers(MLQA)),
    Folder("tydiqa", tydiqa.CARD, "qa", Answers()),
    Folder("bucc2018", bucc.CARD, "retrieval", PAIRS),
    Folder("tatoeba", tatoeba.CARD, "retrieval", INDICES),
)

TARGETS = tuple(folder.card.name for folder in FOLDERS)
"""Names of the nine tasks' cards, in XTREME's order."""

INTERMEDIATES = ("anli_plus", "mnli", "qqp", "squad2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")
"""Names of the nine intermediate tasks' cards, which are also the roles of the arms that train on one of them."""
