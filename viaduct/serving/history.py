"""Where a model comes from and what it scored, as far as its store records.

A finished stage's `stage.json` names its work and the fingerprints of its inputs; following these backwards from a
trained stage gives what it was trained on, and following them forwards gives its scores. A folder outside a store has
no history, and none is invented for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viaduct.encode.tokens import Limits
from viaduct.runs.selection import LOG
from viaduct.runs.stage import kind_of
from viaduct.serving.model import export_record
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

StoredJson = dict[str, Any]
"""The JSON of a file in a store; that of a `stage.json` also has its location as "folder"."""


@dataclass(frozen=True)
class History:
    """What a store records about a model."""

    name: str
    """The stage's path in its store, or the folder's name."""
    steps: tuple[str, ...] = ()
    """What was done to the encoder, oldest first; () when it is not known."""
    task: str | None = None
    """The card that the head was trained on."""
    limits: Limits | None = None
    """How its training truncated its rows."""
    cards: tuple[Task, ...] = ()
    """Viaduct's own cards whose rows it was trained on; the encoder's earlier training is documented by its makers."""
    scores: tuple[StoredJson, ...] = ()
    """What Score stages recorded for it (language, metric, value as a fraction, n), each with its task and split."""


def history(folder: Path) -> History:
    """The history of the model in this folder; for an exported one, what its `export.json` says."""
    folder = folder.resolve()
    exported = export_record(folder)
    if exported is not None:
        return History(folder.name, task=exported.task, limits=exported.limits)
    record = _record(folder)
    if record is None:
        return History(folder.name)
    # All stages of the same encoder are below the encoder's folder in the store.
    depth = len(Path(record["path"]).parts)
    root = folder.parents[depth - 2] if depth > 1 else folder
    every = {found["fingerprint"]: found for found in _records(root)}
    chain, source = [record], record["identity"]["inputs"].get("encoder")
    while source in every:
        chain.append(every[source])
        source = every[source]["identity"]["inputs"].get("encoder")
    work = record["identity"]["work"]
    trained = work.get("training")
    return History(
        name=record["path"],
        steps=tuple(_step(one["folder"], **one["identity"]) for one in reversed(chain)),
        task=work.get("task"),
        limits=None if trained is None else Limits(trained["max_length"], trained["stride"]),
        cards=_trained_on([one["identity"]["work"] for one in chain]),
        scores=tuple(_scores(record["fingerprint"], every)),
    )


def _trained_on(works: Sequence[Any]) -> tuple[Task, ...]:
    """The built-in cards that are named anywhere in these works."""
    names: dict[str, None] = {}
    waiting = [*works]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            names[value] = None
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return tuple(card for card in Catalogue.builtin() if card.name in names)


def _records(root: Path) -> Iterable[StoredJson]:
    for path in sorted(root.rglob("stage.json")):
        found = _record(path.parent)
        if found is not None and not any(part.endswith(".partial") for part in path.parts):
            yield found


def _record(folder: Path) -> StoredJson | None:
    """The stage.json of a folder; None if it is missing or lacks a fingerprint, an identity or a path."""
    try:
        found = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not {"fingerprint", "identity", "path"} <= found.keys():
        return None
    return {**found, "folder": folder}


def _step(folder: Path, kind: str, work: StoredJson, encoder: Mapping[str, str] | None, **_: object) -> str:
    """One line about a stage: "trained on mnli, seed 1: learning rate 2e-05, 3 epochs of all rows, [...]; 600 steps
    made"."""
    log = folder / LOG
    made = f"; {json.loads(log.read_text(encoding='utf-8'))['steps']:,} steps made" if log.is_file() else ""
    return kind_of(kind).history(work, f", from {_encoder(encoder)}" if encoder else "") + made


def _encoder(start: Mapping[str, Any]) -> str:
    if "hub" in start:
        return f"{start['hub']} at revision {start['revision']}"
    return "an encoder's folder (" + ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(start.items())) + ")"


def _scores(trained: str, every: Mapping[str, StoredJson]) -> Iterable[StoredJson]:
    """The scores that Score stages recorded for predictions of the model with this training's fingerprint."""
    for record in every.values():
        predicted = every.get(record["identity"]["inputs"].get("predictions", ""))
        if predicted is None or predicted["identity"]["inputs"].get("encoder") != trained:
            continue
        work = record["identity"]["work"]
        split = work["split"]
        for one in work["substitutions"][:1]:
            split = f"{one['use_task'] or one['task']} {one['use_split']} in place of {split}"
        for score in json.loads((record["folder"] / "scores.json").read_text(encoding="utf-8")):
            yield {**score, "task": work["task"], "split": split}
