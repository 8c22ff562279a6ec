"""Cards of XTREME's machine translations: training questions into other languages, evaluation rows into English.

    TranslatedPair("0", "de", "The kettle is on.", "Tea is ready.", "neutral", ("Der Kessel läuft.", "Tee ist fertig."))

Rows have the ids of what they translate, and the language whose file they belong to. Translations of training pairs are
sources of the cards `mnli` and `pawsx`. The file names are those that google-research/xtreme's baselines and others
read (`xtreme_translations`, a Google Cloud Storage bucket).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from viaduct.errors import DataError
from viaduct.languages import ENGLISH
from viaduct.rows import Row
from viaduct.tasks import mlqa, mnli, pawsx, squad, tydiqa, xnli, xquad
from viaduct.tasks.answers import realigned
from viaduct.tasks.card import Files, Reader, Task, sources
from viaduct.tasks.pairs import translated_pairs
from viaduct.tasks.squad_json import read_unchecked

FOLDER = "xtreme_translations"
SQUAD_LANGUAGES = ("ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")
"""XQuAD's languages, which include MLQA's."""


def read_questions(files: Files, language: str, _split: str) -> Iterator[Row]:
    """*.translate.test.*-en.json, without answers: only those of the original count."""
    for row in read_unchecked(files["rows"][0], language):
        yield replace(row, answers=None)


def read_train_questions(files: Files, language: str, _split: str) -> Iterator[Row]:
    """*.translate.train.en-*.json; questions whose answer is lost in the translated context are left out."""
    path = files["rows"][0]
    rows = read_unchecked(path, language)
    found = [placed for row in rows if (placed := realigned(row)) is not None]
    if rows and not found:
        message = f"not one answer to {len(rows):,} questions appears in its context"
        raise DataError(message, path=path, fix="use the published file; are these contexts in another language?")
    yield from found


def _to_english(card: Task, read: Reader, pattern: str) -> Task:
    """The card of English translations of another card's test rows."""
    others = tuple(code for code in card.languages if code != ENGLISH)
    return Task(
        name=f"{card.name}_to_english",
        title=f"{card.title}, test rows machine-translated into English",
        kind=card.kind,
        languages=others,
        labels=card.labels,
        sources=sources("xtreme", read, f"{FOLDER}/{pattern}", splits="test"),
        expected={(code, "test"): count for (code, split), count in card.expected.items() if split == "test"},
        licence=card.licence,
        citation=f"{card.citation}; translations: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    )


def _from_english(card: Task, languages: tuple[str, ...], pattern: str) -> Task:
    """The card of translations of another card's English training questions."""
    count = card.expected[ENGLISH, "train"]
    return Task(
        name=f"{card.name}_translated",
        version=2,
        history=("1: first version", "2: answers are realigned to whole words"),
        title=f"{card.title}, English train rows machine-translated",
        kind="span",
        languages=languages,
        sources=sources("xtreme", read_train_questions, f"{FOLDER}/{pattern}", splits="train"),
        expected={(code, "train"): count for code in languages},
        translated=True,
        licence=card.licence,
        citation=f"{card.citation}; translations: Hu et al. 2020, XTREME (arXiv 2003.11080)",
        differs="An answer that is not where the file says is taken from the nearest place where it stands as whole "
        "words; questions whose answer stands nowhere are left out, which is how many rows are fewer than published.",
    )


_PAIRS = "{folder}/translate-test/test-{{language}}-en-translated.tsv"
_QUESTIONS = "{folder}/translate-test/{name}.translate.test.{{language}}-en.json"
_TYDIQA = tuple(code for code in tydiqa.LANGUAGES if code != ENGLISH)

CARDS = (
    _to_english(xnli.CARD, translated_pairs(mnli.NAMES, 4, 5), _PAIRS.format(folder="XNLI")),
    _to_english(pawsx.CARD, translated_pairs(pawsx.NAMES, 4, 5), _PAIRS.format(folder="PAWSX")),
    _to_english(xquad.CARD, read_questions, _QUESTIONS.format(folder="XQuAD", name="xquad")),
    _to_english(mlqa.CARD, read_questions, _QUESTIONS.format(folder="MLQA", name="mlqa")),
    _to_english(tydiqa.CARD, read_questions, _QUESTIONS.format(folder="TyDiQA-GoldP", name="tydiqa")),
    _from_english(squad.CARD, SQUAD_LANGUAGES, "SQuAD/translate-train/squad.translate.train.en-{language}.json"),
    _from_english(tydiqa.CARD, _TYDIQA, "TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-{language}.json"),
)
