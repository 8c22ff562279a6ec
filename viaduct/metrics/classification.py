"""Accuracy of labels, for pairs of texts and for multiple choice, and F1 of paraphrases.

Accuracy does not know any label set: a label that no gold row has is wrong like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from viaduct.errors import DataError
from viaduct.metrics.gold import not_a_prediction, require_known_ids, rows_of, unlabelled
from viaduct.metrics.score import Predictions, Score
from viaduct.rows import Choice, Pair, Row

SIGNATURE = "accuracy|exact match of label or index|v1"

PARAPHRASE = "1"
"""The label whose F1 is counted, as QQP and PAWS-X write it."""


def accuracy(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """The share of rows whose predicted label (Pair: text; Choice: index) equals the gold label, as score "accuracy".

    Labels are compared as they are: "01" is not "1". A missing prediction is wrong. Raises DataError for no rows, rows
    without gold labels, unknown ids, and predictions that are not of the label's type. As XTREME's `accuracy`
    (evaluate.py at 838c13b), but by id.
    """
    gold = _labels(rows)
    require_known_ids(gold, predictions)
    correct = missing = 0
    for row_id, label in gold.items():
        if row_id not in predictions:
            missing += 1
            continue
        given = predictions[row_id].prediction
        if type(given) is not type(label):
            wanted = "the label as text" if isinstance(label, str) else "the index of the choice as a whole number"
            raise not_a_prediction(row_id, given, wanted)
        correct += given == label
    return (Score("accuracy", correct / len(gold), len(gold), missing, SIGNATURE),)


def paraphrase_scores(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    """`accuracy`, and "f1" of the label "1" (GLUE's two numbers for QQP, arXiv 1804.07461).

    A missing prediction is wrong: a paraphrase that was not found, or a pair wrongly called one. 0/0 is 0. Raises as
    `accuracy` does.
    """
    (score,) = accuracy(rows, predictions)
    found = right = 0
    gold = _labels(rows)
    for row_id, label in gold.items():
        given = predictions[row_id].prediction if row_id in predictions else None
        called = given == PARAPHRASE or (given is None and label != PARAPHRASE)
        found += called
        right += called and label == PARAPHRASE
    there = sum(label == PARAPHRASE for label in gold.values())
    f1 = 2 * right / (found + there) if right else 0.0
    return score, Score("f1", f1, score.n, score.n_missing, f"f1|of label {PARAPHRASE}|v1")


def _labels(rows: Sequence[Row]) -> dict[str, str | int]:
    if rows and isinstance(rows[0], Choice):
        found: list[tuple[str, str | int | None]] = [(row.id, row.label) for row in rows_of(rows, Choice, "accuracy")]
    else:
        found = [(row.id, row.label) for row in rows_of(rows, Pair, "accuracy")]
    gold: dict[str, str | int] = {}
    for row_id, label in found:
        if label is None:
            raise unlabelled(row_id, "accuracy")
        if row_id in gold:
            raise DataError(f"accuracy: the gold id '{row_id}' occurs twice", fix="remove the duplicate row")
        gold[row_id] = label
    return gold
