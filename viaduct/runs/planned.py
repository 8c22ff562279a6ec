"""A recipe checked against the data and the store before anything runs: what is there, what it will take, what to
know before trusting its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from viaduct.errors import StoreError
from viaduct.paths import cache_directory, free_bytes
from viaduct.results.record import DataNote, differing_counts
from viaduct.results.store import State, Store
from viaduct.runs import collect, execute, forecast
from viaduct.runs.census import Census
from viaduct.runs.encoder import shape_of
from viaduct.runs.field import generator
from viaduct.runs.identity import Identity, identities
from viaduct.runs.overlap import Overlap, overlaps, said
from viaduct.runs.parts import RecipeParts
from viaduct.runs.plan import Plan, outline
from viaduct.runs.rows import RecipeData
from viaduct.runs.sizes import Estimate
from viaduct.runs.validate import repeated
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder


@dataclass(frozen=True)
class Planned:
    """A recipe checked and expanded, with what the store already holds."""

    plan: Plan
    identities: Mapping[str, Identity]
    """{} where data are missing."""
    states: Mapping[str, State]
    estimates: Mapping[str, Estimate]
    data: tuple[DataNote, ...]
    store: Store
    free_bytes: int
    """On the store's disk."""
    need_bytes: int | None
    """What the stages that are not done will need there, about; None when the encoder's size is unknown."""
    flops: float | None
    """Of the stages that are not done, about; None when the encoder's shape is unknown."""
    seconds: float | None
    """Forecast for the stages that are not done, from the pace of those that are; None when none is."""
    census: Census
    overlaps: tuple[Overlap, ...]
    """Rows that are both trained and evaluated on; not looked for where data are missing, or generated."""


def plan_recipe(recipe: RecipeParts, data: Path, store: Path) -> Planned:
    """The recipe's stages, checked against the data (an absolute path) and the store; nothing runs.

    Data that are not there are in its plan's `missing`. Raises UsageError, DataError for damaged files, or StoreError
    (a directory holds another experiment).
    """
    folder = DataFolder(data, Catalogue.builtin().with_files(recipe.cards))
    census = Census(RecipeData(folder), cache_directory(store) / "census.json" if store.is_dir() else None)
    expanded = outline(recipe, census)
    found = {} if expanded.missing else identities(expanded, census.data)
    kept = Store(store)
    if not expanded.missing:
        execute.check_store(kept, expanded, found)
    notes, estimates = collect.data_notes(expanded, census), forecast.estimates(expanded, census)
    shared = _overlaps(expanded, store, census)
    census.memory.save()
    states = {stage.path: kept.state(stage.path) for stage in expanded.stages}
    waiting = [path for path, state in states.items() if state != "done"]
    spent = {path: float(kept.cost(path)["seconds"]) for path, state in states.items() if state == "done"}
    pace = forecast.pace(estimates, spent)
    weight = sum(estimates[path].weight for path in waiting)
    shape = shape_of(expanded.recipe.encoder, expanded.recipe.revision)
    return Planned(
        plan=expanded,
        identities=found,
        states=states,
        estimates=estimates,
        data=notes,
        store=kept,
        free_bytes=free_bytes(store),
        need_bytes=forecast.disk_need(expanded, waiting),
        flops=None if shape is None else weight * shape.token_flops,
        seconds=None if pace is None else pace * weight,
        census=census,
        overlaps=shared,
    )


def _overlaps(expanded: Plan, store: Path, census: Census) -> tuple[Overlap, ...]:
    if expanded.missing or generator(expanded.recipe):
        return ()
    memory = cache_directory(store) / "overlap.json" if store.is_dir() else None
    return overlaps(expanded.recipe, census, memory)


def warnings(planned: Planned) -> tuple[str, ...]:
    """What a person should know before trusting the numbers: counts that differ, arms and languages left out,
    substitutions, rows and tasks that are both trained and evaluated on."""
    expanded = planned.plan
    lines = [] if generator(expanded.recipe) else list(differing_counts(planned.data))
    lines += [f"arm {arm} is left out: {'; '.join(gaps)}" for arm, gaps in expanded.left_out.items()]
    lines += [f"{name}: no labelled files in {' '.join(codes)}; left out" for name, codes in expanded.absent.items()]
    lines += [one.words() for one in expanded.recipe.substitutions]
    return tuple(f"note: {line}" for line in (*lines, *remarks(planned)))


def remarks(planned: Planned) -> tuple[str, ...]:
    """Rows and tasks that are both trained and evaluated on, in words."""
    return (*repeated(planned.plan.recipe, planned.census), *said(planned.overlaps))


def require_space(planned: Planned) -> None:
    """Raise StoreError when the store's disk has less room than the stages to do need, about."""
    if planned.need_bytes is not None and planned.need_bytes > planned.free_bytes:
        raise StoreError(
            f"the disk of {planned.store.root} has {planned.free_bytes / 1e9:.1f} GB free,"
            f" and the stages to do need about {planned.need_bytes / 1e9:.1f} GB",
            fix="make room, or name a --store on another disk",
        )
