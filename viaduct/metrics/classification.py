"""Accuracy of labels, for text pairs, multiple choice and other rows with a label, and F1 of paraphrases.

Accuracy does not depend on a label set: a label that no gold row has is wrong like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from viaduct.metrics.score import (
    ByExample,
    Outcomes,
    Predictions,
    Score,
    Scored,
    labelled,
    not_a_prediction,
    require_known_ids,
    rows_of,
)
from viaduct.rows import Choice, Pair, Row

SIGNATURE = "accuracy|exact match of label or index|v1"

PARAPHRASE = "1"
"""The label whose F1 is computed, as written in QQP and PAWS-X."""


@ByExample
def accuracy(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """The share of rows whose predicted label (Choice: index; others: text) equals the gold label, as score "accuracy".

    Labels are compared literally: "01" is not "1". A missing prediction is wrong. Raises DataError for no rows, rows
    without gold labels, unknown ids, and predictions of another type than the label. Like XTREME's `accuracy`
    (evaluate.py at 838c13b), but matched by id.
    """
    kind = type(rows[0]) if rows and hasattr(rows[0], "label") else Pair
    gold = {row.id: row.gold for row in labelled(rows_of(rows, kind, "accuracy"), "accuracy").values()}
    require_known_ids(gold, predictions)
    given = {row_id: predictions[row_id].prediction for row_id in gold if row_id in predictions}
    for row_id, label in given.items():
        if type(label) is not type(gold[row_id]):
            wanted = "the index of the choice as a whole number" if kind is Choice else "the label as text"
            raise not_a_prediction(row_id, label, wanted)
    right = [row_id in given and given[row_id] == label for row_id, label in gold.items()]
    score = Score("accuracy", sum(right) / len(gold), len(gold), len(gold) - len(given), SIGNATURE)
    choices = [1 / len(row.choices) for row in rows if isinstance(row, Choice)]
    return Scored((score,), Outcomes(tuple(gold), {"accuracy": right}, sum(choices) / len(gold) if choices else None))


@ByExample
def paraphrase_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """`accuracy`, and "f1" of the label "1" (GLUE's two metrics for QQP, arXiv 1804.07461).

    A missing prediction is wrong: a paraphrase not found, or a pair wrongly called a paraphrase. 0/0 is 0. Raises what
    `accuracy` raises.
    """
    (score,), outcomes = accuracy.examine(rows, predictions)
    found = right = 0
    for row in rows:
        given = predictions[row.id].prediction if row.id in predictions else None
        called = given == PARAPHRASE or (given is None and row.gold != PARAPHRASE)
        found += called
        right += called and row.gold == PARAPHRASE
    there = sum(row.gold == PARAPHRASE for row in rows)
    f1 = 2 * right / (found + there) if right else 0.0
    return Scored((score, Score("f1", f1, score.n, score.n_missing, f"f1|of label {PARAPHRASE}|v1")), outcomes)
