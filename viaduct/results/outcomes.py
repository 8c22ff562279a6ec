"""Outcomes by example: how a trained model did on every row, packed and without text (`outcomes.npz` of a score stage).

Intervals and tests over examples are computed from them. The file holds, for each language, right and wrong as bits,
counts as small integers, other values as 32-bit floats, and the digest and numbers of the rows' ids.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, StoreError
from viaduct.metrics.drawn import drawn_together
from viaduct.metrics.interval import by_example
from viaduct.metrics.score import Score, Scored
from viaduct.metrics.summary import counted_metrics
from viaduct.results.writing import write_atomic
from viaduct.rows import Row
from viaduct.tasks.card import Task

FILE = "outcomes.npz"
TOLERANCE = 1e-6
"""Allowed difference between a score and the mean of its outcomes."""


@dataclass(frozen=True, eq=False)
class LanguageOutcomes:
    """Outcomes of one trained model in one language, example by example, in the order of the gold rows."""

    values: Mapping[str, NDArray[Any]]
    """Either scores, one array (N,) per metric that the task's score is made of ({"accuracy"}, {"exact_match",
    "f1"}), or the counts {"correct", "predicted", "gold"}. Counts may be unsigned: cast them before subtracting."""
    units: NDArray[np.int32]
    """(N,), equal for rows that chance draws together: the same example in different languages of a parallel test set,
    and examples of one group, such as the questions about a paragraph (`drawn_together`)."""
    ids: str
    """Digest of the ids in order: outcomes of two models can be compared by example if it is the same."""
    chance: float | None
    """Score of answering at random; None if unknown."""
    majority: float | None
    """Score of always giving the most frequent gold answer; None if there is no such answer."""

    def scores(self) -> NDArray[np.float64]:
        """(N,) values whose mean is the task's score in this language, see `by_example`."""
        return by_example(self.values)


def ids_digest(ids: Sequence[str]) -> str:
    """The value of `LanguageOutcomes.ids` for these ids."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def packed(card: Task, found: Mapping[str, tuple[Sequence[Row], Scored]]) -> dict[str, LanguageOutcomes]:
    """Language -> outcomes, from gold rows and the results of the card's metric; those without outcomes are left out.

    Raises DataError for outcomes that do not reproduce the metric's own score.
    """
    given = {code: one.outcomes for code, (_, one) in found.items() if one.outcomes is not None}
    units = drawn_together(given)
    made = {}
    for code, one in given.items():
        rows, (scores, _) = found[code]
        values = {name: np.array(value) for name, value in one.values.items()}
        chance = _chance(card, values) if one.chance is None else one.chance
        made[code] = LanguageOutcomes(values, units[code], ids_digest(one.ids), chance, _majority(card, rows))
        _require_same(card, code, made[code], _task_score(card, scores))
    return made


def _task_score(card: Task, scores: Sequence[Score]) -> float:
    values = {score.metric: score.value for score in scores}
    counted = counted_metrics(card.metrics)
    return sum(values.get(name, math.nan) for name in counted) / len(counted)


def _chance(card: Task, values: Mapping[str, NDArray[Any]]) -> float | None:
    """1 / number of labels, if the card lists them all and each answer is right or wrong; else None."""
    right = len(values) == 1 and all(np.isin(one, (0, 1)).all() for one in values.values())
    return 1 / len(card.labels) if right and card.labels and card.row_kind.label_set == "closed" else None


def _majority(card: Task, rows: Sequence[Row]) -> float | None:
    answers = card.row_kind.majority(rows) if card.row_kind.majority is not None else {}
    return _task_score(card, card.metric(rows, answers)) if answers and card.metric is not None else None


def _require_same(card: Task, language: str, one: LanguageOutcomes, score: float) -> None:
    found = one.scores()
    if found.shape != one.units.shape or not abs(found.mean() - score) <= TOLERANCE:
        raise DataError(
            f"the metric of {card.name} gives {score:.6f} in '{language}', but outcomes of {found.mean():.6f} over "
            f"{len(found):,} values for {len(one.units):,} ids",
            fix="give one value per id whose mean is the score, or correct, predicted and gold counts of an F1",
        )


def write_outcomes(directory: Path, outcomes: Mapping[str, LanguageOutcomes]) -> None:
    """Write `outcomes.npz` to the directory in one step; equal outcomes give equal bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    about: dict[str, Any] = {}
    for language, one in outcomes.items():
        arrays[f"{language}/units"] = np.diff(one.units, prepend=np.int32(0))  # many are 1, which compresses well
        forms = {name: form_of(values) for name, values in one.values.items()}
        for name, values in one.values.items():
            arrays[f"{language}/{name}"] = stored(values, forms[name])
        about[language] = {"ids": one.ids, "chance": one.chance, "majority": one.majority, "values": forms}
    content = io.BytesIO()
    told = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(content, about=told, **arrays)  # type: ignore[arg-type]
    write_atomic(directory / FILE, content.getvalue())


def read_outcomes(directory: Path) -> Mapping[str, LanguageOutcomes] | None:
    """Language -> outcomes; None if there is no such file (older stores). Raises StoreError if it is damaged."""
    path = directory / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            return {language: _read(file, language, **one) for language, one in about.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise StoreError(f"{path} is damaged: {error}", fix="remove it: a report recreates it") from error


def _read(
    file: Any, language: str, *, ids: str, chance: float | None, majority: float | None, values: Mapping[str, str]
) -> LanguageOutcomes:
    units = np.cumsum(file[f"{language}/units"], dtype=np.int32)
    found: dict[str, NDArray[Any]] = {}
    for name, form in values.items():
        stored = file[f"{language}/{name}"]
        bits = form == "bits"
        found[name] = np.unpackbits(stored, count=len(units)).astype(np.float32) if bits else stored
        if found[name].shape != units.shape:
            raise ValueError(f"{language}: {len(found[name]):,} values of {name} for {len(units):,} rows")
    return LanguageOutcomes(found, units, ids, chance, majority)


def form_of(values: NDArray[Any]) -> str:
    """How such values are stored: "bits" for right and wrong, else a NumPy type that holds them."""
    if not np.issubdtype(values.dtype, np.integer):
        return "bits" if np.isin(values, (0, 1)).all() else "float32"
    return str(np.min_scalar_type(int(values.max(initial=0))))


def stored(values: NDArray[Any], form: str) -> NDArray[Any]:
    """The values in a form given by `form_of`; bits are packed along the last axis."""
    return np.packbits(values == 1, axis=-1) if form == "bits" else values.astype(form)
