"""What stands behind the numbers: rows found against rows published, how checkpoints were chosen, fingerprints; and
published scores beside them, with what keeps each from being compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from viaduct.report.table import Column, Tables, family_order
from viaduct.results.record import About, DataNote, ResultRow
from viaduct.tasks.catalogue import Catalogue


@dataclass(frozen=True)
class DataGroup:
    """One task and split."""

    task: str
    split: str
    notes: tuple[DataNote, ...]
    """One per language, by family."""

    @property
    def found(self) -> int:
        """Rows found, over all languages."""
        return sum(note.found for note in self.notes)

    @property
    def published(self) -> int | None:
        """Rows published, over all languages; None when the count of some language is not published."""
        counts = [note.published for note in self.notes if note.published is not None]
        return sum(counts) if len(counts) == len(self.notes) else None

    @property
    def layouts(self) -> tuple[str, ...]:
        """The published forms that were read."""
        return tuple(sorted({note.layout for note in self.notes if note.found}))

    @property
    def absent(self) -> tuple[DataNote, ...]:
        """Those of which nothing was found."""
        return tuple(note for note in self.notes if not note.found)

    @property
    def differing(self) -> tuple[DataNote, ...]:
        """Those of which some rows were found, and not as many as published."""
        return tuple(note for note in self.notes if note.found and note.published not in (None, note.found))

    @property
    def verdict(self) -> str:
        """In words: how the counts compare with the published ones."""
        unknown = sum(note.published is None for note in self.notes if note.found)
        equal = len(self.notes) - len(self.absent) - len(self.differing) - unknown
        parts = {
            "not found": len(self.absent),
            "differ from the published count": len(self.differing),
            "as published": equal,
            "without a published count": unknown,
        }
        return ", ".join(f"{number} {words}" for words, number in parts.items() if number)


def data_groups(about: About) -> tuple[DataGroup, ...]:
    """The data notes by task and split, in the order in which they were recorded."""
    groups: dict[tuple[str, str], dict[str, DataNote]] = {}
    for note in about.data:
        groups.setdefault((note.task, note.split), {})[note.language] = note
    return tuple(
        DataGroup(task, split, tuple(notes[code] for code in family_order(tuple(notes))))
        for (task, split), notes in groups.items()
    )


@dataclass(frozen=True)
class Origin:
    """Where the scores of one task come from."""

    task: str
    version: int
    split: str
    selections: tuple[str, ...]
    """How checkpoints were chosen."""
    signatures: tuple[str, ...]
    examples: int
    """Scored per arm and seed (headline metric), over all languages; of the fullest one."""
    missing: int
    """Predictions that were missing and counted as wrong, over all arms and seeds."""
    fingerprints: tuple[tuple[str, int, str], ...]
    """(arm, seed, fingerprint of its score stage)."""


def provenance(rows: Sequence[ResultRow]) -> tuple[Origin, ...]:
    """One entry per task, version and split."""
    groups: dict[tuple[str, int, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.task_version, row.split), []).append(row)
    return tuple(_origin(own) for own in groups.values())


def _origin(rows: Sequence[ResultRow]) -> Origin:
    scored: dict[tuple[str, int], int] = {}
    for row in rows:
        scored[row.arm, row.seed] = scored.get((row.arm, row.seed), 0) + row.n * row.headline
    return Origin(
        task=rows[0].task,
        version=rows[0].task_version,
        split=rows[0].split,
        selections=tuple(dict.fromkeys(row.selection for row in rows)),
        signatures=tuple(dict.fromkeys(row.signature for row in rows)),
        examples=max(scored.values()),
        missing=sum(row.n_missing for row in rows if row.headline),
        fingerprints=tuple(dict.fromkeys((row.arm, row.seed, row.fingerprint) for row in rows)),
    )


@dataclass(frozen=True)
class PublishedModel:
    """One model's published scores on the run's tasks."""

    model: str
    values: Mapping[str, float]
    """Task -> fraction, in the metric that the task's column shows."""
    sources: tuple[str, ...]
    """Paper and table of each, without repeats."""


@dataclass(frozen=True)
class PublishedScores:
    """All of them, and what is different about this run's columns."""

    models: tuple[PublishedModel, ...]
    reservations: Mapping[str, str]
    """Task -> why its column is not the published experiment; tasks that are not here can be compared."""


def published(tables: Tables, *, miniature: bool) -> PublishedScores:
    """The published scores of these tables' columns, by model in the order of the tasks."""
    catalogue = Catalogue.builtin()
    columns = [column for column in tables.columns if column.metric and column.task in catalogue]
    values: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, None]] = {}
    reservations = {}
    for column in columns:
        card = catalogue.task(column.task)
        shown = [one for one in card.published if one.metric == column.metric]
        for one in shown:
            values.setdefault(one.model, {})[column.task] = one.value
            sources.setdefault(one.model, {})[one.source] = None
        reasons = ["generated data"] if miniature else _reservations(column, card.languages)
        if shown and reasons:
            reservations[column.task] = ", ".join(reasons)
    models = tuple(PublishedModel(model, scores, tuple(sources[model])) for model, scores in values.items())
    return PublishedScores(models, reservations)


def _reservations(column: Column, languages: Sequence[str]) -> list[str]:
    reasons = [f"another split ({column.split})"] if column.split != "test" or column.substitution else []
    missing = [code for code in languages if code not in column.present]
    return reasons + ([f"{len(missing)} of {len(languages)} languages missing"] if missing else [])
