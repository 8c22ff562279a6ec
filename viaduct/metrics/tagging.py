"""F1 of tagged spans as XTREME counts them (seqeval 0.0.12), and plain token accuracy.

XTREME was scored with seqeval 0.0.12; 1.x gives other numbers on part-of-speech tags, because it cuts off their first
letter. On bare UPOS tags, adjacent tokens with the same tag form one unit by this definition, except for tags that
begin with S (SYM, SCONJ), where every token is its own unit. The published "POS F1" is this, not token accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import add, eq
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
from viaduct.rows import Row, Tagged

OUTSIDE = "O"


class Entity(NamedTuple):
    """A span of tokens of one type: first and last token, both included."""

    type: str
    first: int
    last: int


@ByExample
def udpos_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """Span F1 on bare UPOS tags, its precision and recall, and token accuracy; see `span_scores`."""
    return span_scores(rows, predictions, definition="seqeval 0.0.12 on bare UPOS tags")


@ByExample
def panx_scores(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """Entity F1 on IOB2 tags, its precision and recall, and token accuracy; see `span_scores`."""
    return span_scores(rows, predictions, definition="seqeval 0.0.12 entities")


@ByExample
def tag_accuracy(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """The share of tokens with the right tag, as score "token_accuracy"; n counts sentences.

    For tags that mark no spans, such as supertags; a tag that the model does not know is wrong like any other. Missing
    sentences and errors are handled as in `span_scores`.
    """
    gold, given = _tags(rows, predictions)
    pairs = zip(gold.values(), given, strict=True)
    right = [0 if own is None else sum(map(eq, tags, own)) for tags, own in pairs]
    lengths = list(map(len, gold.values()))
    # The share of right tokens is an F1 over tokens, with as many predicted as gold ones.
    counts = {"correct": right, "predicted": lengths, "gold": lengths}
    return Scored((_token_accuracy(list(gold.values()), given),), Outcomes(tuple(gold), counts))


def span_scores(rows: Sequence[Row], predictions: Predictions, *, definition: str) -> Scored:
    """Scores f1, precision, recall (micro-averaged over spans) and token_accuracy; n counts sentences.

    A prediction is the list of tags of one sentence. A missing sentence counts as all wrong: none of its gold spans is
    found, every token is one wrong span (the most a prediction could have), and every token's tag is wrong. So leaving
    a sentence out never raises a score. 0/0 is 0, as in seqeval.

    Raises DataError for no rows or no tokens, rows without tags, unknown ids, and a list whose length differs from the
    number of tokens.
    """
    by_id, given = _tags(rows, predictions)
    gold, missing = list(by_id.values()), sum(own is None for own in given)
    predicted = [[OUTSIDE] * len(tags) if own is None else own for tags, own in zip(gold, given, strict=True)]
    counts = dict(zip(("correct", "predicted", "gold"), span_counts(gold, predicted), strict=True))
    wrong = [len(tags) if own is None else 0 for tags, own in zip(gold, given, strict=True)]
    counts["predicted"] = list(map(add, counts["predicted"], wrong))
    values = zip(("f1", "precision", "recall"), f1_precision_recall(*map(sum, counts.values())), strict=True)
    scores = [Score(name, value, len(gold), missing, f"{name}|{definition}|v1") for name, value in values]
    return Scored((*scores, _token_accuracy(gold, given)), Outcomes(tuple(by_id), counts))


def _tags(rows: Sequence[Row], predictions: Predictions) -> tuple[dict[str, tuple[str, ...]], list[list[str] | None]]:
    """(gold tags by id, predicted tags) of every sentence; None for a sentence without prediction."""
    gold = _gold_tags(rows)
    require_known_ids(gold, predictions)
    given = [
        _predicted_tags(row_id, predictions[row_id].prediction, len(tags)) if row_id in predictions else None
        for row_id, tags in gold.items()
    ]
    return gold, given


def _token_accuracy(gold: Sequence[Sequence[str]], given: Sequence[Sequence[str] | None]) -> Score:
    pairs = [pair for tags, own in zip(gold, given, strict=True) if own for pair in zip(tags, own, strict=True)]
    correct = sum(tag == other for tag, other in pairs)
    share = correct / sum(map(len, gold))
    return Score("token_accuracy", share, len(gold), sum(own is None for own in given), "token_accuracy|plain|v1")


def span_counts(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[list[int], list[int], list[int]]:
    """(right, predicted, gold) spans by sentence; a span that runs into the next one is counted where it begins."""
    right, found = set(entities(gold)), set(entities(predicted))
    return _by_sentence(right & found, gold), _by_sentence(found, predicted), _by_sentence(right, gold)


def _by_sentence(spans: Iterable[Entity], sentences: Sequence[Sequence[str]]) -> list[int]:
    counts = [0] * len(sentences)
    owner = [number for number, sentence in enumerate(sentences) for _ in range(len(sentence) + 1)]
    for span in spans:
        counts[owner[span.first]] += 1
    return counts


def entities(sentences: Sequence[Sequence[str]]) -> list[Entity]:
    """The spans of these sentences, as defined by seqeval 0.0.12 (`get_entities` of metrics/sequence_labeling.py).

    Offsets count tokens across all sentences, joined with one "O" in between (and after the last). `I-X` without `B-X`
    opens a span; another type closes one span and opens the next. The prefix (B, I, E, S or O) is a tag's first letter,
    so a tag without prefix has its first letter as prefix and itself as type. Raises DataError for empty tags.
    """
    spans: list[Entity] = []
    previous, first, index = "O-", 0, 0  # seqeval starts outside, with an empty type
    for sentence in sentences:
        for tag in (*sentence, OUTSIDE):
            ends, starts = _boundary(previous, tag)
            if ends:
                spans.append(Entity(_type(previous), first, index - 1))
            if starts:
                first = index
            previous, index = tag, index + 1
    return spans


def _type(tag: str) -> str:
    return tag.rpartition("-")[2]


@lru_cache(maxsize=1 << 14)
def _boundary(previous: str, tag: str) -> tuple[bool, bool]:
    """Whether a span ends before this tag, and whether one starts at it."""
    if not tag:
        raise DataError("a tag is empty", fix="write 'O' for tokens outside every span")
    type_changes = _type(previous) != _type(tag)
    return _ends(previous[0], tag[0], type_changes), _starts(previous[0], tag[0], type_changes)


def _ends(previous: str, prefix: str, type_changes: bool) -> bool:
    if previous in "ES" or (previous in "BI" and prefix in "BSO"):
        return True
    return type_changes and previous not in "O."


def _starts(previous: str, prefix: str, type_changes: bool) -> bool:
    if prefix in "BS" or (previous in "ESO" and prefix in "EI"):
        return True
    return type_changes and prefix not in "O."


def _gold_tags(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    rows_by_id = labelled(rows_of(rows, Tagged, "tagging F1"), "tagging F1")
    gold = {row.id: row.tags or () for row in rows_by_id.values()}
    for row_id, tags in gold.items():
        if len(tags) != len(rows_by_id[row_id].tokens):
            raise DataError(f"gold row '{row_id}' has {len(rows_by_id[row_id].tokens)} tokens but {len(tags)} tags")
    if not any(gold.values()):
        raise DataError("tagging F1: the gold rows have no tokens", fix="check that the split's file was read")
    return gold


def _predicted_tags(row_id: str, given: object, num_tokens: int) -> list[str]:
    if not isinstance(given, list | tuple):
        raise not_a_prediction(row_id, given, "a list with one tag per token")
    tags = [tag for tag in given if isinstance(tag, str) and tag]
    if len(tags) < len(given):
        strange = next(tag for tag in given if not isinstance(tag, str) or not tag)
        raise not_a_prediction(row_id, strange, "tags as text that is not empty")
    if len(tags) != num_tokens:
        raise DataError(
            f"the prediction for row '{row_id}' has {len(tags)} tags, but the sentence has {num_tokens} tokens",
            fix="write one tag per token ('O' where the model was cut off), or leave the sentence out (all wrong)",
        )
    return tags
