"""What is behind the numbers: rows found and rows published, how checkpoints were chosen, fingerprints; and published
scores, with any reasons why they cannot be compared. Everything is in the form that the page's templates take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from viaduct.report.table import Column, Tables, family_order
from viaduct.results.record import About, DataNote, ResultRow
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.citing import is_non_commercial

ABSENT, DIFFERS, EQUAL, UNKNOWN = (
    "not found",
    "differ from the published count",
    "as published",
    "without a published count",
)
"""What can be said about the rows of one language."""


def data_groups(about: About) -> list[dict[str, Any]]:
    """The data notes by task and split, in the order in which they were recorded; languages by family."""
    groups: dict[tuple[str, str], dict[str, DataNote]] = {}
    for note in about.data:
        groups.setdefault((note.task, note.split), {})[note.language] = note
    return [_data_group(task, split, own) for (task, split), own in groups.items()]


def _data_group(task: str, split: str, by_language: dict[str, DataNote]) -> dict[str, Any]:
    notes = [by_language[code] for code in family_order(tuple(by_language))]
    states = [_state(note) for note in notes]
    counts = Counter(states)
    published = [note.published for note in notes if note.published is not None]
    return {
        "task": task,
        "split": split,
        "notes": list(zip(notes, states, strict=True)),
        "found": sum(note.found for note in notes),
        "published": sum(published) if len(published) == len(notes) else None,
        "layouts": sorted({note.layout for note in notes if note.found}),
        "odd": counts[ABSENT] + counts[DIFFERS],
        "verdict": ", ".join(f"{counts[one]} {one}" for one in (ABSENT, DIFFERS, EQUAL, UNKNOWN) if counts[one]),
    }


def _state(note: DataNote) -> str:
    if not note.found:
        return ABSENT
    if note.published is None:
        return UNKNOWN
    return EQUAL if note.found == note.published else DIFFERS


def cards_read(about: About) -> list[Task]:
    """Viaduct's built-in cards whose rows the run read, each once; a user's own card documents itself in its file."""
    catalogue = Catalogue.builtin()
    return [catalogue.task(name) for name in dict.fromkeys(note.task for note in about.data) if name in catalogue]


def licences(about: About) -> list[dict[str, Any]]:
    """Licence and citation of each data set, what it was read for, and whether commercial use is forbidden."""
    splits: dict[str, dict[str, None]] = {}
    for note in about.data:
        splits.setdefault(note.task, {})[note.split] = None
    return [
        {
            "name": card.name,
            "splits": ", ".join(splits[card.name]),
            "trained": "train" in splits[card.name],
            "licence": card.licence,
            "restricted": is_non_commercial(card.licence),
            "citation": card.citation,
        }
        for card in cards_read(about)
    ]


def origins(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """Where the scores of each task, version and split come from."""
    groups: dict[tuple[str, int, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.task_version, row.split), []).append(row)
    return [_origin(own) for own in groups.values()]


def _origin(rows: Sequence[ResultRow]) -> dict[str, Any]:
    scored: Counter[tuple[str, int]] = Counter()
    arms: dict[str, dict[str, None]] = {}
    for row in rows:
        scored[row.arm, row.seed] += row.n * row.headline
        arms.setdefault(row.selection, {})[row.arm] = None
    usual, *others = arms
    return {
        "task": rows[0].task,
        "version": rows[0].task_version,
        "split": rows[0].split,
        "selections": (usual, *(f"{words} ({', '.join(arms[words])})" for words in others)),
        "signatures": tuple(dict.fromkeys(row.signature for row in rows)),
        # of the arm and seed with the most examples, over all languages
        "examples": max(scored.values()),
        "missing": sum(row.n_missing for row in rows if row.headline),
    }


def fingerprints(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """The fingerprint of every score stage, for a file."""
    found = dict.fromkeys((row.task, row.arm, row.seed, row.fingerprint) for row in rows)
    return [dict(zip(("task", "arm", "seed", "fingerprint"), one, strict=True)) for one in found]


def published_scores(tables: Tables, about: About) -> dict[str, Any]:
    """The published scores of these tables' columns, in the metric that the column shows: model -> task -> fraction,
    model -> their sources, and task -> why its column is not the published experiment (if it is not)."""
    catalogue = Catalogue.builtin()
    models: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, None]] = {}
    reservations = {}
    for column in tables.columns:
        card = catalogue.task(column.task) if column.metric and column.task in catalogue else None
        shown = [one for one in card.published if one.metric == column.metric] if card else []
        for one in shown:
            models.setdefault(one.model, {})[column.task] = one.value
            sources.setdefault(one.model, {})[one.source] = None
        reasons = ["generated data"] if about.miniature else _reservations(column, card.languages if card else ())
        reasons += [] if about.limit is None else [f"{about.limit:,} rows per language at most"]
        if shown and reasons:
            reservations[column.task] = ", ".join(reasons)
    return {"models": models, "sources": sources, "reservations": reservations}


def _reservations(column: Column, languages: Sequence[str]) -> list[str]:
    reasons = [f"another split ({column.split})"] if column.split != "test" or column.substitution else []
    missing = [code for code in languages if code not in column.present]
    return reasons + ([f"{len(missing)} of {len(languages)} languages missing"] if missing else [])
