"""The scores that XTREME's own scorer computes from submission files (google-research/xtreme at 838c13b, evaluate.py).

Unlike the metrics that score our rows by id, these compare files as that script does: line by line, and text against
text. Values are fractions. `strict` refuses input for which the script's result would be too good; without it, the
result is always the script's number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from viaduct.errors import DataError
from viaduct.metrics.interval import COUNTS
from viaduct.metrics.qa import ANSWER_METRICS, Definition
from viaduct.metrics.score import Outcomes, f1_precision_recall, not_a_prediction
from viaduct.metrics.tagging import span_counts


class LabelsError(DataError):
    """The error is in the labels, not in the predictions."""


@dataclass(frozen=True, slots=True)
class FileScore:
    """The scores of one prediction file."""

    values: Mapping[str, float]
    """Metric -> fraction; the headline metric first.

    For tag files in which every sentence has as many tags as tokens, the last is "token_accuracy": the share of right
    tags, which is not the F1.
    """
    n: int
    n_missing: int = 0
    n_unknown: int = 0
    """Answers to questions that are not in the labels; ignored."""
    other_counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Metric -> (n, n_missing) for metrics over other examples (the second direction of retrieval)."""
    n_strange: int = 0
    """Lines that cannot be right: not a label of the task, not an index, or not two ids."""
    strange: str = ""
    """The first of these lines, in words."""
    outcomes: Outcomes | None = field(default=None, compare=False)
    """How each example came out, if known. In a parallel test set, ids are the same in all languages."""
    signatures: Mapping[str, str] = field(default_factory=dict)
    """Metric -> signature that says exactly how it was computed."""

    def counts(self, metric: str) -> tuple[int, int]:
        """(n, n_missing) of this metric."""
        return self.other_counts.get(metric, (self.n, self.n_missing))


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the texts of its gold answers, and the paragraph that it is about ("" if not given)."""

    id: str
    answers: tuple[str, ...]
    context: str = ""


def label_scores(gold: Sequence[str], given: Sequence[str]) -> FileScore:
    """accuracy: the share of lines with the same text ("01" is not "1"). Raises DataError if the lengths differ or
    there are no lines."""
    if not gold:
        raise LabelsError("there are no labels, so there is no accuracy", fix="use the labelled file of this split")
    _same_number(gold, given, "line")
    right = [one == other for one, other in zip(gold, given, strict=True)]
    return FileScore({"accuracy": sum(right) / len(gold)}, len(gold), outcomes=_by_line({"accuracy": right}))


def tag_scores(gold: Sequence[Sequence[str]], given: Sequence[Sequence[str]], *, strict: bool) -> FileScore:
    """f1, precision and recall of spans as in seqeval 0.0.12, plus token_accuracy.

    Raises DataError if the numbers of sentences differ. In seqeval, a sentence of another length shifts all tags after
    it; `strict` refuses such sentences (and gold without a single tag).
    """
    tokens = sum(map(len, gold))
    if strict and not tokens:
        raise LabelsError("the labels have no tags", fix="use the labelled file of this split")
    _same_number(gold, given, "sentence")
    uneven = [place for place, (one, other) in enumerate(zip(gold, given, strict=True)) if len(one) != len(other)]
    if strict and uneven:
        number = uneven[0]
        raise DataError(
            f"{len(uneven):,} of {len(gold):,} sentences do not have one tag per token, the first is sentence"
            f" {number + 1:,} with {len(given[number])} tags for {len(gold[number])} tokens",
            fix="write one tag per token; the official scorer would shift all later tags (--official does too)",
        )
    counts = dict(zip(COUNTS, span_counts(gold, given), strict=True))
    values = dict(zip(("f1", "precision", "recall"), f1_precision_recall(*map(sum, counts.values())), strict=True))
    if tokens and not uneven:
        correct = sum(a == b for one, other in zip(gold, given, strict=True) for a, b in zip(one, other, strict=True))
        values["token_accuracy"] = correct / tokens
    return FileScore(values, len(gold), outcomes=_by_line(counts))


def pair_scores(gold: Collection[tuple[str, ...]], given: Collection[tuple[str, ...]]) -> FileScore:
    """f1, precision and recall of the lines as sets of field tuples: a blank line counts as one more wrong pair."""
    wanted, found = set(gold), set(given)
    scores = f1_precision_recall(len(wanted & found), len(found), len(wanted))
    values = dict(zip(("f1", "precision", "recall"), scores, strict=True))
    pairs = sorted(wanted | found)
    sides = ([pair in side for pair in pairs] for side in (wanted & found, found, wanted))
    outcomes = Outcomes(list(map("\t".join, pairs)), dict(zip(COUNTS, sides, strict=True)))
    return FileScore(values, len(wanted), outcomes=outcomes if pairs else None)


def answer_scores(
    questions: Sequence[Question], given: Mapping[str, object], *, language: str, definition: Definition
) -> FileScore:
    """f1 and exact_match over questions, by this definition for the language.

    A missing id scores 0 and is counted as missing; ids that no question has are ignored; an id shared by two questions
    counts twice. Raises DataError for no questions, an answered question without gold answers, and non-text answers.
    """
    if not questions:
        raise LabelsError("there are no questions", fix="use the labelled file of this split")
    scored = []
    for question in questions:
        answer = given.get(question.id)
        if question.id not in given:
            scored.append((0.0, 0.0))
            continue
        if not isinstance(answer, str):
            raise not_a_prediction(question.id, answer, "the answer as text")
        if not question.answers:
            raise LabelsError(f"question '{question.id}' has no gold answer", fix="use the labelled file of this split")
        scored.append(definition.score(answer, question.answers, language))
    count, ids = len(questions), [question.id for question in questions]
    by_metric = dict(zip(ANSWER_METRICS, zip(*scored, strict=True), strict=True))
    outcomes = Outcomes(ids, by_metric, groups=[question.context for question in questions])
    values = {name: math.fsum(one) / count for name, one in outcomes.values.items()}
    missing = sum(question not in given for question in ids)
    return FileScore(values, count, missing, len(given.keys() - set(ids)), outcomes=outcomes)


def _by_line(values: Mapping[str, Sequence[float]]) -> Outcomes:
    """Outcomes of lines or sentences, which are parallel across languages by their number."""
    return Outcomes([str(number) for number in range(len(next(iter(values.values()))))], values)


def _same_number(gold: Collection[object], given: Collection[object], what: str) -> None:
    if len(gold) != len(given):
        end = "; a blank line ends a sentence" if what == "sentence" else ""
        raise DataError(
            f"{len(given):,} {what}{'s' * (len(given) != 1)} for {len(gold):,} in the labels",
            fix=f"write a prediction for each, in the labels' order{end}",
        )
