"""What stands behind the numbers: rows found against rows published, how checkpoints were chosen, fingerprints.

Only groups and counts records; judges nothing but whether two counts are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viaduct.report.table import family_order
from viaduct.results.record import About, DataNote, ResultRow


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
        found = [note for note in self.notes if note.found]
        unknown = sum(note.published is None for note in found)
        equal = len(found) - unknown - len(self.differing)
        parts = (
            (len(self.absent), "not found"),
            (len(self.differing), "differ from the published count"),
            (equal, "as published"),
            (unknown, "without a published count"),
        )
        return ", ".join(f"{number} {words}" for number, words in parts if number)


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


def data_groups(about: About) -> tuple[DataGroup, ...]:
    """The data notes by task and split, in the order in which they were recorded."""
    groups: dict[tuple[str, str], dict[str, DataNote]] = {}
    for note in about.data:
        groups.setdefault((note.task, note.split), {})[note.language] = note
    return tuple(
        DataGroup(task, split, tuple(notes[code] for code in family_order(tuple(notes))))
        for (task, split), notes in groups.items()
    )


def provenance(rows: Sequence[ResultRow]) -> tuple[Origin, ...]:
    """One entry per task and split."""
    groups: dict[tuple[str, int, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.task_version, row.split), []).append(row)
    origins = []
    for (task, version, split), members in groups.items():
        scored: dict[tuple[str, int], int] = {}
        for row in members:
            if row.headline:
                scored[row.arm, row.seed] = scored.get((row.arm, row.seed), 0) + row.n
        origins.append(
            Origin(
                task=task,
                version=version,
                split=split,
                selections=tuple(dict.fromkeys(row.selection for row in members)),
                signatures=tuple(dict.fromkeys(row.signature for row in members)),
                examples=max(scored.values(), default=0),
                missing=sum(row.n_missing for row in members if row.headline),
                fingerprints=tuple(dict.fromkeys((row.arm, row.seed, row.fingerprint) for row in members)),
            )
        )
    return tuple(origins)
