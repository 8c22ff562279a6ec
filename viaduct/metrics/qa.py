"""Exact match and F1 of answer texts: SQuAD 1.1, SQuAD 2.0 and MLQA, in their official definitions.

XQuAD and TyDiQA are scored with SQuAD 1.1's English normalisation in every language, as XTREME does; on languages
written without spaces F1 is then close to exact match. MLQA normalises by language. Only answer texts are looked at,
not offsets or contexts.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from viaduct.errors import DataError, unknown
from viaduct.metrics.gold import not_a_prediction, require_known_ids, rows_of, unlabelled
from viaduct.metrics.score import Predictions, Score
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
"""Language -> pattern of its articles (mlqa_evaluation_v1.py); the Arabic one goes inside words too, as there."""

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CHINESE = re.compile("([\u4e00-\u9fa5])")


def squad_scores(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """f1 and exact_match in SQuAD 1.1's definition: means over questions of the best over gold answers.

    Used by SQuAD 1.1, XQuAD and TyDiQA (evaluate-v1.1.py of SQuAD-explorer). A prediction is the answer text; "" is an
    answer too (it scores 0 in F1, and 1 in exact match where a gold answer normalises to nothing). Raises DataError for
    no rows, a question without gold answers (use `squad2_scores`), unknown ids, and predictions that are not text.
    """
    return _scores(rows, predictions, lambda row: normalise_squad, definition="SQuAD 1.1", unanswerable=False)


def squad2_scores(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """f1 and exact_match in SQuAD 2.0's definition (evaluate-v2.0.py at eee5fdb), without a no-answer threshold.

    As `squad_scores`, but a question may have no answer: then "" is right (both scores 1) and anything else wrong.
    """
    return _scores(rows, predictions, lambda row: normalise_squad, definition="SQuAD 2.0", unanswerable=True)


def mlqa_scores(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """f1 and exact_match in MLQA's definition (mlqa_evaluation_v1.py), normalised by each row's language.

    As `squad_scores` otherwise. Raises UsageError for rows in a language that MLQA does not have.
    """
    return _scores(rows, predictions, _mlqa_normaliser, definition="MLQA by language", unanswerable=False)


def normalise_squad(text: str) -> str:
    """The text in lower case without ASCII punctuation, English articles and surplus white space.

    >>> normalise_squad("The  U.S.A.")
    'usa'
    """
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def normalise_mlqa(text: str, language: str) -> str:
    """The text in lower case without any script's punctuation and the language's articles; Chinese split by character.

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
    """F1 of two normalised texts as bags of tokens; 0 when they share none, also when both are empty."""
    given, gold = prediction.split(), answer.split()
    num_common = (Counter(given) & Counter(gold)).total()
    if num_common == 0:
        return 0.0
    precision, recall = num_common / len(given), num_common / len(gold)
    return 2 * precision * recall / (precision + recall)


def squad_f1(prediction: str, answers: Sequence[str]) -> float:
    """SQuAD 1.1 F1 of one question: the best over its gold answers, of which there must be one."""
    return max(token_f1(normalise_squad(prediction), normalise_squad(answer)) for answer in answers)


def squad_exact(prediction: str, answers: Sequence[str]) -> float:
    """SQuAD 1.1 exact match of one question: 1.0 when the normalised prediction equals a gold answer, else 0.0."""
    return float(normalise_squad(prediction) in {normalise_squad(answer) for answer in answers})


def mlqa_f1(prediction: str, answers: Sequence[str], language: str) -> float:
    """MLQA F1 of one question: the best over its gold answers, of which there must be one."""
    given = normalise_mlqa(prediction, language)
    return max(token_f1(given, normalise_mlqa(answer, language)) for answer in answers)


def mlqa_exact(prediction: str, answers: Sequence[str], language: str) -> float:
    """MLQA exact match of one question: 1.0 when the normalised prediction equals a gold answer, else 0.0."""
    return float(normalise_mlqa(prediction, language) in {normalise_mlqa(answer, language) for answer in answers})


def _mlqa_normaliser(row: Span) -> Callable[[str], str]:
    return lambda text: normalise_mlqa(text, row.language)


@lru_cache(maxsize=1 << 16)
def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _scores(
    rows: Sequence[Row],
    predictions: Predictions,
    normaliser: Callable[[Span], Callable[[str], str]],
    *,
    definition: str,
    unanswerable: bool,
) -> tuple[Score, ...]:
    gold = _gold_answers(rows, definition, unanswerable)
    require_known_ids(gold, predictions)
    f1_values: list[float] = []
    num_exact = missing = 0
    for row_id, (row, texts) in gold.items():
        if row_id not in predictions:
            missing += 1
            continue
        given = predictions[row_id].prediction
        if not isinstance(given, str):
            raise not_a_prediction(row_id, given, "the answer as text ('' for no answer)")
        normalise = normaliser(row)
        prediction = normalise(given)
        answers = {normalise(text) for text in texts}
        if unanswerable:  # SQuAD 2.0 drops gold answers that normalise to nothing, and calls empty against empty right
            answers = answers - {""} or {""}
        num_exact += prediction in answers
        best = max(token_f1(prediction, answer) for answer in answers)
        f1_values.append(1.0 if unanswerable and prediction == "" and "" in answers else best)
    values = {"f1": math.fsum(f1_values) / len(gold), "exact_match": num_exact / len(gold)}
    return tuple(Score(name, value, len(gold), missing, f"{name}|{definition}|v1") for name, value in values.items())


def _gold_answers(rows: Sequence[Row], definition: str, unanswerable: bool) -> dict[str, tuple[Span, list[str]]]:
    gold: dict[str, tuple[Span, list[str]]] = {}
    for row in rows_of(rows, Span, definition):
        if row.answers is None:
            raise unlabelled(row.id, definition)
        if not row.answers and not unanswerable:
            raise DataError(
                f"{definition}: question '{row.id}' has no gold answer",
                fix="questions without an answer are scored by SQuAD 2.0's definition",
            )
        if row.id in gold:
            raise DataError(f"{definition}: the gold id '{row.id}' occurs twice", fix="remove the duplicate row")
        gold[row.id] = (row, [answer.text for answer in row.answers])
    return gold
