"""Scores of bitext retrieval (Tatoeba) and bitext mining (BUCC), and the mining threshold that is tuned on dev.

Works on ids and candidate scores only; vectors, neighbours and margins are handled elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from viaduct.errors import DataError
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
from viaduct.rows import Row, Sentence

DIRECTIONS = (
    ("accuracy", "target", "source", "accuracy|English query to its translation|v1"),
    ("accuracy_into_english", "source", "target", "accuracy|sentence to its English translation|v1"),
)
"""The two directions of Tatoeba: name of the score, side of the queries, side of the candidates, signature."""
BUCC_DEFINITION = "set of pairs"


class Threshold(NamedTuple):
    """A mining threshold and its F1 on the pairs it was tuned on."""

    threshold: float
    """Candidates with a score at or above it are extracted."""
    f1: float
    """F1 on the tuning pairs, a fraction."""


@ByExample
def tatoeba_accuracy(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """The share of English sentences whose predicted translation is right, as score "accuracy" (XTREME's), and of the
    other language's sentences, as "accuracy_into_english"; the second only if these have any predictions.

    In Tatoeba, line i is not the same sentence in two languages: examples count as the same if their English text is.

    Queries are the rows that have a match; a prediction is the id of a row on the other side. Predictions for rows
    without a match are ignored. A missing prediction is wrong, and so is an id that no row has. Raises DataError for no
    queries, no gold matches, predictions for other ids, predictions that are not ids, and if not a single predicted id
    belongs to a row on the other side.
    """
    sentences = rows_of(rows, Sentence, "retrieval accuracy")
    queries = {
        side: {row.id: row.match for row in _side(sentences, side, "retrieval accuracy") if row.match}
        for _, side, _, _ in DIRECTIONS
    }
    if not queries["target"]:
        raise DataError(
            "retrieval accuracy: no English sentence has a match", fix="check that the gold pairs were read"
        )
    require_known_ids({row.id for row in sentences}, predictions)
    chosen: dict[str, str] = {}
    for row_id, prediction in predictions.items():
        if not isinstance(prediction.prediction, str):
            raise not_a_prediction(row_id, prediction.prediction, "the id of the chosen sentence as text")
        chosen[row_id] = prediction.prediction
    scores, outcomes = [], None
    for name, side, other, signature in DIRECTIONS:
        own = queries[side]
        given = {row_id: chosen[row_id] for row_id in own if row_id in chosen}
        if side == "target" or given:
            candidates = {row.id for row in sentences if row.side == other}
            _require_some_known(given.values(), candidates)
            right = [row_id in given and given[row_id] in matches for row_id, matches in own.items()]
            scores.append(Score(name, sum(right) / len(own), len(own), len(own) - len(given), signature))
            same = _told_apart(row.text for row in sentences if row.id in own)
            outcomes = outcomes or Outcomes(tuple(own), {name: right}, 1 / len(candidates), same)
    return Scored(tuple(scores), outcomes)


@ByExample
def bucc_f1(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """Scores f1, precision and recall of the predicted pairs as a set; n counts gold pairs (evaluate.py at 838c13b).

    Predictions are keyed by the id of a source row; a prediction is the id of its target row, a list of ids, or None
    if nothing was above the threshold. Gold pairs are the matches of the source rows. If no pair is right, all are 0.

    A source row without prediction extracts nothing, like None, because a mining system may rightly leave it out;
    `n_missing` counts the gold pairs whose source row has no prediction, not even None. Raises DataError for no gold
    pairs, predictions for other ids, predictions that are not ids, and if no predicted id belongs to a target row.
    """
    sentences = rows_of(rows, Sentence, "mining F1")
    sources = {row.id: row.match or () for row in _side(sentences, "source", "mining F1")}
    require_known_ids(sources, predictions)
    gold = {source: set(matches) for source, matches in sources.items()}
    if not any(gold.values()):
        raise DataError("mining F1: no source sentence has a match", fix="check that the gold pairs were read")
    found = {row_id: set(_targets(row_id, given.prediction)) for row_id, given in predictions.items()}
    targets = {row.id for row in sentences if row.side == "target"}
    _require_some_known([target for given in found.values() for target in given], targets)
    counts = {
        "correct": [len(matches & found.get(source, set())) for source, matches in gold.items()],
        "predicted": [len(found.get(source, ())) for source in gold],
        "gold": [len(matches) for matches in gold.values()],
    }
    num_pairs = sum(counts["gold"])
    missing = sum(len(matches) for source, matches in gold.items() if source not in predictions)
    values = zip(("f1", "precision", "recall"), f1_precision_recall(*map(sum, counts.values())), strict=True)
    scores = tuple(Score(name, value, num_pairs, missing, f"{name}|{BUCC_DEFINITION}|v1") for name, value in values)
    return Scored(scores, Outcomes(tuple(gold), counts))


def bucc_threshold(candidates: Iterable[tuple[float, str, str]], gold_pairs: Collection[tuple[str, str]]) -> Threshold:
    """The threshold with the best F1 over these candidates (score, source id, target id), and that F1.

    It lies midway between the lowest extracted score and the next one; if F1 is equal, the higher threshold wins
    (`bucc_optimize` of XTREME's third_party/utils_retrieve.py at 838c13b). Deviations where the official search fails:

    - best after the last candidate: it raises IndexError; here the threshold is the last score.
    - equal scores: it may cut between them, although extraction takes all or none, and so depends on the order of the
      candidates; here only cuts between different scores are tried.

    If nothing is correct, or there are no candidates, threshold and F1 are 0, as in the official search: everything
    that scores 0 or more is then extracted. A pair given twice keeps its higher score. Raises DataError if there are no
    gold pairs.
    """
    gold = set(gold_pairs)
    if not gold:
        raise DataError("threshold search: there are no gold pairs", fix="tune on a split whose gold file is available")
    best_score: dict[tuple[str, str], float] = {}
    for score, source, target in candidates:
        pair = (source, target)
        best_score[pair] = max(float(score), best_score.get(pair, float("-inf")))
    ranked = sorted(best_score.items(), key=lambda item: -item[1])
    cuts = [(score, [pair in gold for pair, _ in tied]) for score, tied in groupby(ranked, key=lambda item: item[1])]
    best = Threshold(0.0, 0.0)
    num_correct = num_extracted = 0
    for place, (score, hits) in enumerate(cuts):
        num_extracted += len(hits)
        num_correct += sum(hits)
        f1 = f1_precision_recall(num_correct, num_extracted, len(gold))[0]
        if f1 > best.f1:
            is_last = place + 1 == len(cuts)
            best = Threshold(score if is_last else (score + cuts[place + 1][0]) / 2, f1)
    return best


def _side(sentences: Sequence[Sentence], side: str, metric: str) -> Iterable[Sentence]:
    return labelled([row for row in sentences if row.side == side], metric).values()


def _told_apart(texts: Iterable[str]) -> list[str]:
    """The texts, with a number added to repeated ones."""
    seen: Counter[str] = Counter()
    told = []
    for text in texts:
        seen[text] += 1
        told.append(text if seen[text] == 1 else f"{text}\n{seen[text]}")
    return told


def _targets(row_id: str, given: object) -> list[str]:
    several = given if isinstance(given, list | tuple) else () if given is None else (given,)
    targets = [target for target in several if isinstance(target, str)]
    if len(targets) < len(several):
        raise not_a_prediction(row_id, given, "the id of the paired sentence as text, a list of ids, or null")
    return targets


def _require_some_known(predicted: Collection[str], candidates: set[str]) -> None:
    if predicted and candidates and candidates.isdisjoint(predicted):
        raise DataError(
            f"no predicted id is the id of a sentence of the other side: predicted '{next(iter(predicted))}', "
            f"while the sentences have ids like '{min(candidates)}'",
            fix="write predictions with the ids of these gold rows",
        )
