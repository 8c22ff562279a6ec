"""The paths of a plan's stages in a store that holds the same stages with other settings.

The setting that came first has the plain path; another one is put next to it, at `train@learning_rate-3e-05`, or with
the start of its fingerprint if more than one field differs. Equal stages are shared. Only settings get such paths: a
difference in code, cards, data or the ready-made encoder makes another experiment, which the store refuses.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from viaduct.results.claim import stage_name
from viaduct.results.store import Store
from viaduct.runs.identity import Identity, differing, standing
from viaduct.runs.plan import Plan
from viaduct.runs.stage import Stage
from viaduct.runs.variation import text_of

DIGITS = 8
"""How many digits of a fingerprint a path contains."""
LONGEST = 40
"""Maximum characters of a field and its value in a path."""
WORTH_SECONDS = 60.0
"""An attempt interrupted sooner than this gives way to other settings: a mistake that was noticed immediately."""


def placed(plan: Plan, identities: Mapping[str, Identity], store: Store) -> tuple[Plan, dict[str, Identity]]:
    """The plan with each stage at its own path in this store, and the identities by these paths."""
    places, moved = _Places(store), dict[str, Stage]()
    for stage in plan.stages:
        here = replace(stage, inputs={role: moved[source.path] for role, source in stage.inputs.items()})
        moved[stage.path] = replace(here, path=places.of(here, identities[stage.path]))
    if all(path == stage.path for path, stage in moved.items()):
        return plan, dict(identities)
    return replace(
        plan,
        stages=tuple(moved.values()),
        cells=tuple(
            replace(cell, score=moved[cell.score.path], dev=cell.dev and moved[cell.dev.path]) for cell in plan.cells
        ),
        places={moved[path].path: place for path, place in plan.places.items()},
        needs={moved[path].path: needs for path, needs in plan.needs.items()},
    ), {moved[path].path: one for path, one in identities.items()}


def setting_in(path: str) -> str:
    """The part of a stage's path that tells it from the same stage with other settings; "" for the first setting."""
    return path.rpartition("/")[2].partition("@")[2]


def plain_path(path: str) -> str:
    """The path that a stage has if its setting comes first."""
    return path.removesuffix(f"@{setting_in(path)}")


def is_taken(store: Store, path: str, fingerprint: str) -> bool:
    """Whether a stage with another fingerprint is at this path: finished, running, or interrupted and worth keeping."""
    done = store.record(path)
    found = store.unfinished(path) if done is None else done
    if not fingerprint or found is None or found.get("fingerprint") == fingerprint:
        return False
    return done is not None or store.state(path) == "running" or store.seconds(path) >= WORTH_SECONDS


class _Places:
    """Assigns the paths of a store to the stages of one plan."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.given: dict[str, Identity] = {}
        """Path -> identity of the plan's stage that was placed there."""

    def of(self, stage: Stage, identity: Identity) -> str:
        """The path of a stage, which is reserved for it from now on."""
        path = self._choose(stage, identity)
        self.given[path] = identity
        return path

    def _choose(self, stage: Stage, identity: Identity) -> str:
        plain, fingerprint = plain_path(stage.path), identity.fingerprint  # it may already have been placed
        if not fingerprint:
            return stage.path
        folder, _, name = plain.rpartition("/")
        beside = (path for path in self.store.directory(folder).glob(f"{glob.escape(name)}@*") if path.is_dir())
        siblings = [f"{folder}/{stage_name(path.name)}" for path in sorted(beside)]
        for path in (plain, *siblings):
            if standing(self.store, path, fingerprint) in ("done", "running", "interrupted", "given up"):
                return path
        if not self._is_taken(plain, fingerprint):
            return plain
        fields = differing(self._there(plain), identity.content)
        if not any(name.startswith(("work.", "inputs.")) for name in fields):
            return plain  # which the store refuses
        choices = [f"{plain}@{name}" for name in (_name(stage, fields), fingerprint[:DIGITS]) if name]
        return next((path for path in choices if not self._is_taken(path, fingerprint)), choices[-1])

    def _is_taken(self, path: str, fingerprint: str) -> bool:
        return path in self.given or is_taken(self.store, path, fingerprint)

    def _there(self, path: str) -> Mapping[str, Any]:
        """The content of the identity of the stage at a path."""
        if path in self.given:
            return self.given[path].content
        found: Mapping[str, Any] = (self.store.record(path) or self.store.unfinished(path) or {}).get("identity", {})
        return found


def _name(stage: Stage, fields: Mapping[str, tuple[Any, Any]]) -> str:
    """The one setting in which a stage, or else what it starts from, differs from the plain path; "" for several."""
    changed = [name for name in fields if name.startswith("work.")]
    inherited = {name for source in stage.inputs.values() if (name := setting_in(source.path))}
    if len(changed) > 1 or len(inherited) > 1 or (changed and inherited):
        return ""
    if not changed:
        return next(iter(inherited), "")
    name = f"{changed[0].rpartition('.')[2]}-{text_of(fields[changed[0]][1])}"
    return name if len(name) <= LONGEST and re.fullmatch(r"[\w.+-]+", name, re.ASCII) else ""
