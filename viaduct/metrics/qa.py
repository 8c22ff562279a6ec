"""Exact match and F1 of answer texts by the official definitions of SQuAD 1.1, SQuAD 2.0 and MLQA.

XQuAD and TyDiQA are scored with SQuAD 1.1's English normalisation in every language, as in XTREME; in languages
written without spaces F1 is then close to exact match. MLQA normalises by language. Only answer texts are compared,
not offsets or contexts.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from viaduct.errors import DataError, unknown
from viaduct.metrics.score import (
    ByExample,
    Outcomes,
    Predictions,
    Score,
    Scored,
    f1_precision_recall,
    labelled,
    not_a_prediction,
    require_known_ids,
    rows_of,
)
from viaduct.rows import Row, Span

MLQA_ARTICLES: dict[str, str] = {
    "ar": r"ال",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": "",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "zh": "",
}
"""Language -> pattern of its articles (mlqa_evaluation_v1.py); as there, the Arabic one also matches inside words."""

ANSWER_METRICS = ("f1", "exact_match")

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CHINESE = re.compile("([\u4e00-\u9fa5])")


class Definition(NamedTuple):
    """How an answer is compared with the gold answers."""

    name: str
    normalise: Callable[[str, str], str]
    """(text, language) -> text to compare."""
    unanswerable: bool = False
    """Whether a question may have no answer; then "" is right for it and anything else wrong."""

    def score(self, prediction: str, answers: Iterable[str], language: str) -> tuple[float, float]:
        """(F1, exact match) of one question: the best over its gold answers. There must be at least one, unless
        questions may be unanswerable."""
        given = self.normalise(prediction, language)
        gold = {self.normalise(answer, language) for answer in answers}
        if (
            self.unanswerable
        ):  # SQuAD 2.0 drops gold answers that normalise to nothing, and calls empty against empty right
            gold = gold - {""} or {""}
        if self.unanswerable and given == "":
            return float("" in gold), float("" in gold)
        return max(token_f1(given, answer) for answer in gold), float(given in gold)


def normalise_squad(text: str) -> str:
    """The text in lower case, without ASCII punctuation, English articles and extra white space.

    >>> normalise_squad("The  U.S.A.")
    'usa'
    """
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def normalise_mlqa(text: str, language: str) -> str:
    """The text in lower case, without punctuation of any script or the language's articles; Chinese split by character.

    Raises UsageError for a language that MLQA does not have.
    """
    if language not in MLQA_ARTICLES:
        raise unknown("language of MLQA", language, MLQA_ARTICLES)
    bare = "".join(character for character in text.lower() if not _is_punctuation(character))
    if MLQA_ARTICLES[language]:
        bare = re.sub(MLQA_ARTICLES[language], " ", bare)
    if language == "zh":
        bare = _CHINESE.sub(r" \1 ", bare)
    return " ".join(bare.split())


def token_f1(prediction: str, answer: str) -> float:
    """F1 of two normalised texts as bags of tokens; 0 if they share none, even if both are empty."""
    given, gold = prediction.split(), answer.split()
    return f1_precision_recall((Counter(given) & Counter(gold)).total(), len(given), len(gold))[0]


@lru_cache(maxsize=1 << 16)
def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


SQUAD = Definition("SQuAD 1.1", lambda text, language: normalise_squad(text))
SQUAD2 = Definition("SQuAD 2.0", lambda text, language: normalise_squad(text), unanswerable=True)
MLQA = Definition("MLQA by language", normalise_mlqa)


@ByExample
def squad_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """f1 and exact_match as defined by SQuAD 1.1: means over questions of the best over gold answers.

    Used by SQuAD 1.1, XQuAD and TyDiQA (evaluate-v1.1.py of SQuAD-explorer). A prediction is the answer text; "" is an
    answer too (it scores 0 in F1, and 1 in exact match if a gold answer normalises to nothing). Raises DataError for
    no rows, a question without gold answers (use `squad2_scores`), unknown ids, and predictions that are not text.
    """
    return _scores(rows, predictions, SQUAD)


@ByExample
def squad2_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """f1 and exact_match as defined by SQuAD 2.0 (evaluate-v2.0.py at eee5fdb), without a no-answer threshold.

    Like `squad_scores`, but a question may have no answer: then "" is right (both scores 1) and anything else wrong.
    """
    return _scores(rows, predictions, SQUAD2)


@ByExample
def mlqa_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """f1 and exact_match as defined by MLQA (mlqa_evaluation_v1.py), normalised by each row's language.

    Otherwise like `squad_scores`. Raises UsageError for rows in a language that MLQA does not have.
    """
    return _scores(rows, predictions, MLQA)


def _scores(rows: Sequence[Row], predictions: Predictions, definition: Definition) -> Scored:
    gold = labelled(rows_of(rows, Span, definition.name), definition.name)
    empty = next((row.id for row in gold.values() if not row.answers), None)
    if empty is not None and not definition.unanswerable:
        raise DataError(
            f"{definition.name}: question '{empty}' has no gold answer",
            fix="questions without an answer are scored by SQuAD 2.0's definition",
        )
    require_known_ids(gold, predictions)
    found: list[tuple[float, float]] = []
    for row in gold.values():
        if row.id not in predictions:
            found.append((0.0, 0.0))
            continue
        given = predictions[row.id].prediction
        if not isinstance(given, str):
            raise not_a_prediction(row.id, given, "the answer as text ('' for no answer)")
        found.append(definition.score(given, [answer.text for answer in row.answers or ()], row.language))
    missing = sum(row_id not in predictions for row_id in gold)
    values = {name: [score[place] for score in found] for place, name in enumerate(ANSWER_METRICS)}
    scores = tuple(
        Score(name, math.fsum(one) / len(gold), len(gold), missing, f"{name}|{definition.name}|v1")
        for name, one in values.items()
    )
    return Scored(scores, Outcomes(tuple(gold), values))
