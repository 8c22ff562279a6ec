"""The output of `viaduct plan`: the stages as a tree in which shared beginnings appear once, the data, the cost, the
gaps; or all of it as plain values.

Nothing is decided here. The seeds of a stage share a line, and so do a prediction and its score. If two arms have the
same stages below them, the second one's are only counted, with a reference to the first.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from viaduct.command import table
from viaduct.memory import machine_bytes
from viaduct.paths import free_bytes
from viaduct.results.record import DataNote
from viaduct.runs.display import in_words
from viaduct.runs.gaps import listed
from viaduct.runs.placement import setting_in
from viaduct.runs.planned import Load, Planned, warnings
from viaduct.runs.rows import source_of
from viaduct.runs.stage import Stage, Work, kind_of

ALIKE = 3
"""A part of the tree with at least this many kinds of stages is not printed again below another arm."""
WIDTH = 240


class Device(NamedTuple):
    """Assumptions about one device."""

    name: str
    flops: float
    """Operations per second in long products of wide matrices."""
    basis: str

    def seconds(self, load: Load) -> float:
        """Seconds that stages take. Calling layers takes equally long on every device: an accelerator that gets 32
        short rows at a time is mostly idle."""
        rate = self.flops * load.width / (load.width + NARROW)
        return load.flops / rate + load.layer_passes * CALL_SECONDS + load.seconds


NARROW = 192
"""Width at which half the time is spent outside matrix products: 1.2e13 operations of two layers of width 128 took two
threads 129 s, while at widths 384 and 768 one thread does 120 GFLOP/s."""
CALL_SECONDS = 5e-4
"""Overhead of calling one layer for one batch: 20 ms per training step of 12 layers."""
DEVICES = (
    Device("one CPU core", 1.2e11, "120 GFLOP/s in float32: measured at widths 384 and 768 on an AVX-512 server core"),
    Device("one A100", 0.4 * 312e12, "40 % of 312 TFLOP/s in bfloat16: assumed, at best"),
    Device("one H100", 0.4 * 989e12, "40 % of 989 TFLOP/s in bfloat16: assumed, at best"),
)


@dataclass
class Group:
    """Stages that do the same work on the same inputs, for all seeds."""

    work: Work
    arms: frozenset[str]
    stages: list[Stage] = field(default_factory=list)
    below: list[Group] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of groups: this one and all below it."""
        return 1 + sum(group.size for group in self.below)

    def everything(self) -> list[Stage]:
        """The stages of this group and of all below it."""
        return [*self.stages, *(stage for group in self.below for stage in group.everything())]


def text(planned: Planned) -> str:
    """The whole plan as plain text."""
    expanded, count, waiting = planned.plan, len(planned.plan.stages), len(planned.waiting)
    parts = [
        f"recipe {expanded.recipe.name}: {expanded.recipe.hypothesis}",
        _rendered(tree(planned)),
        f"{count:,} stages ({expanded.unshared - count:,} saved by sharing),"
        f" {count - waiting:,} done, {waiting:,} to do{_not_done(planned)}",
        _data(planned),
    ]
    gaps = listed(expanded.missing)
    parts += ["\n".join(("missing, so nothing can run:", *(f"  - {line}" for line in gaps)))] if gaps else []
    notes = warnings(planned)
    parts += ["\n".join(notes)] if notes else []
    rooms = (_memory(**_peak(planned)), _disk(**_room(planned)))
    return "\n\n".join([*parts, _forecast(**_cost(planned)), "\n".join(filter(None, rooms))])


def values(planned: Planned) -> dict[str, Any]:
    """The whole plan as plain values; anything unknown or missing is None."""
    expanded, recipe, arms = planned.plan, planned.plan.recipe, users(planned)
    unknown = planned.unknown
    return {
        "recipe": recipe.name,
        "hypothesis": recipe.hypothesis,
        "encoder": expanded.encoder,
        "revision": recipe.revision,
        "unknown_pieces": None if unknown is None else unknown.shares,
        "stages": [
            {
                "path": stage.path,
                "kind": stage.work.kind,
                "does": label(stage.work),
                "arms": [arm.name for arm in recipe.intermediates if arm.name in arms.get(stage.path, ())],
                "seed": expanded.places[stage.path].seed if _seeded(stage) else None,
                "setting": setting_in(stage.path) or None,
                "inputs": [one.path for one in stage.inputs.values()],
                "state": planned.states[stage.path],
                "tokens": round(planned.estimates[stage.path].tokens) or None,
                "seconds": planned.spent.get(stage.path),
            }
            for stage in expanded.stages
        ],
        "stages_if_not_shared": expanded.unshared,
        "data": [
            {
                "task": note.task,
                "split": note.split,
                "language": note.language,
                "layout": note.layout if note.found else None,
                "rows": note.found or None,
                "rows_published": note.published,
            }
            for note in planned.data
        ],
        "missing": [gap._asdict() | {"language": gap.language or None} for gap in expanded.missing],
        "notes": [line.removeprefix("note: ") for line in warnings(planned)],
        "forecast": _cost(planned),
        "memory": _peak(planned),
        "disk": _room(planned),
    }


def tree(planned: Planned) -> Tree:
    """The tree of stages below the encoder, each below the stage whose output it uses."""
    roots = groups(planned)
    arms, arms_of = frozenset(arm.name for arm in planned.plan.recipe.intermediates), users(planned)
    found = Tree(Text(_encoder(planned)))
    _Branches(planned).add(found, roots, arms, "")
    for stage in planned.plan.stages:
        if stage.path not in arms_of:
            state = planned.states[stage.path]
            found.add(Text(f"{label(stage.work)}: {state if state in _KEPT else 'to do'}"))
    return found


def users(planned: Planned) -> dict[str, set[str]]:
    """Stage path -> arms whose results depend on it; stages that come after all results are left out."""
    found: dict[str, set[str]] = {}
    for cell in planned.plan.cells:
        stage: Stage | None = cell.score
        while stage is not None:
            found.setdefault(stage.path, set()).add(cell.arm)
            stage = next(iter(stage.inputs.values()), None)
    return found


def groups(planned: Planned) -> list[Group]:
    """The groups of stages without input, with their descendants, in the order of the plan; stages that come after all
    results are left out."""
    arms = users(planned)
    roots: list[Group] = []
    known: dict[tuple[int, str], Group] = {}
    of: dict[str, Group] = {}
    for stage in (stage for stage in planned.plan.stages if stage.path in arms):
        source = next(iter(stage.inputs.values()), None)
        parent = None if source is None else of[source.path]
        own = frozenset(arms[stage.path])
        seeded = kind_of(stage.work.kind).seeded
        work = stage.work.model_copy(update={"seed": 0}) if seeded else stage.work
        key = (id(parent), f"{sorted(own)} {work.model_dump_json()}")
        if key not in known:
            known[key] = Group(work, own)
            (roots if parent is None else parent.below).append(known[key])
        known[key].stages.append(stage)
        of[stage.path] = known[key]
    return roots


class _Branches:
    """Adds groups to a tree and remembers which parts it has shown."""

    def __init__(self, planned: Planned) -> None:
        self.planned = planned
        self.shown: dict[str, str] = {}
        """Names of the stages below an arm -> that arm."""

    def add(self, node: Tree, members: Sequence[Group], arms: frozenset[str], heading: str) -> None:
        """Add the groups below a node that belongs to these arms; groups of other arms get their own heading."""
        own = [group for group in members if group.arms == arms]
        names = _outline(own)
        if names in self.shown and sum(group.size for group in own) >= ALIKE:
            stages = [stage for group in own for stage in group.everything()]
            node.add(Text(f"the same as below {self.shown[names]}: {self._state(stages)}"))
        else:
            if heading and own:
                self.shown.setdefault(names, heading)
            for group in own:
                self._one(node, group, heading)
        for users in dict.fromkeys(group.arms for group in members if group.arms != arms):
            ordered = [arm.name for arm in self.planned.plan.recipe.intermediates if arm.name in users]
            title = f"arm{'s' * (len(ordered) > 1)} {', '.join(ordered)}"
            branch = node.add(Text(title, style="bold"))
            self.add(branch, [group for group in members if group.arms == users], users, title)

    def _one(self, node: Tree, group: Group, heading: str) -> None:
        scored = len(group.below) == 1 and group.below[0].work.kind == "score"
        stages = group.everything() if scored else group.stages
        words = f"{label(group.work)} and score it" if scored else label(group.work)
        words += f" ({setting})" if (setting := setting_in(group.stages[0].path)) else ""
        branch = node.add(Text(f"{words}: {self._state(stages)}"))
        if not scored:
            self.add(branch, group.below, group.arms, heading)

    def _state(self, stages: Sequence[Stage]) -> str:
        """Text with the seeds, how many stages are done, and the tokens of those that are not."""
        states = [self.planned.states[stage.path] for stage in stages]
        seeds = dict.fromkeys(self.planned.plan.places[stage.path].seed for stage in stages if _seeded(stage))
        done = states.count("done")
        words = {0: "to do", len(states): "done"}.get(done, f"{done:,} of {len(states):,} stages done")
        begun = [f"{states.count(one)} {said}" for one, said in _BEGUN.items() if one in states]
        if len(set(states)) == 1 and states[0] in _KEPT:
            words, begun = states[0], []
        rest = [stage.path for stage in stages if self.planned.states[stage.path] != "done"]
        tokens = sum(self.planned.estimates[path].tokens for path in rest)
        parts = [f"seed{'s' * (len(seeds) > 1)} {' '.join(map(str, seeds))}"] if seeds else []
        return ", ".join([*parts, words, *begun, *([f"{_count(tokens)} tokens"] if tokens else [])])


_KEPT = ("done", "there, not checked", "another experiment's")
"""States of stages whose directories exist."""
_BEGUN = {"running": "running", "interrupted": "to go on", "given up": "given up", **{name: name for name in _KEPT[1:]}}


def _not_done(planned: Planned) -> str:
    """How many of the stages counted as to do have directories already, by state."""
    states = list(planned.states.values())
    found = [f"{states.count(name):,} {name}" for name in _KEPT[1:] if name in states]
    return f" (of these {', '.join(found)})" if found else ""


def _outline(members: Iterable[Group]) -> str:
    """The names of these stages and of all below them, to compare two parts of the tree."""
    return ";".join(f"{label(group.work)} ({_outline(group.below)})" for group in members)


def label(work: Work) -> str:
    """A stage's work in a few words."""
    return kind_of(work.kind).label(work)


def _seeded(stage: Stage) -> bool:
    return "/seed-" in stage.path


def _encoder(planned: Planned) -> str:
    recipe = planned.plan.recipe
    if not isinstance(recipe.encoder, str):
        return f"{planned.plan.encoder} (made here)"
    revision = "" if recipe.revision is None else f" at {recipe.revision[:12]}"
    unknown = "" if planned.unknown is None else f" (unknown pieces: {planned.unknown.words})"
    return f"{recipe.encoder}{revision}{unknown}"


def _rendered(found: Tree) -> str:
    """The tree as text, its lines drawn with characters of the terminal's encoding."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=sys.stdout.encoding or "utf-8", errors="replace")
    Console(file=file, width=WIDTH, color_system=None, highlight=False).print(found, soft_wrap=True)
    file.seek(0)
    return "\n".join(line.rstrip() for line in file.read().splitlines())


def _data(planned: Planned) -> str:
    """One line per task, split and layout; deviations from the published counts are in the notes."""
    found: dict[tuple[str, str, str], list[DataNote]] = {}
    for note in planned.data:
        found.setdefault((note.task, note.split, note.layout), []).append(note)
    lines = []
    for (task, split, layout), notes in found.items():
        stated = [note.published for note in notes if note.published is not None]
        published = f"{sum(stated):,}" if len(stated) == len(notes) else "?"
        codes = " ".join(sorted(note.language for note in notes))
        lines.append((task, split, layout, f"{sum(note.found for note in notes):,}", published, codes))
    return table(("data", "split", "layout", "rows found", "published", "languages"), lines, frozenset({3, 4}))


def _cost(planned: Planned) -> dict[str, Any]:
    """The approximate cost of the stages to do; what depends on an unknown encoder shape or pace is None."""
    load = planned.load
    return {
        "tokens": round(sum(planned.estimates[path].tokens for path in planned.waiting)),
        "flops": None if load is None else load.flops,
        "seconds_at_this_pace": planned.seconds,
        "rows_guessed": _guessed(planned),
        "devices": None
        if load is None
        else [{"name": one.name, "seconds": one.seconds(load), "basis": one.basis} for one in DEVICES],
    }


def _forecast(
    tokens: int,
    flops: float | None,
    seconds_at_this_pace: float | None,
    rows_guessed: Mapping[str, int | None],
    devices: Sequence[Mapping[str, Any]] | None,
) -> str:
    seconds = seconds_at_this_pace
    pace = "" if seconds is None else f"; about {in_words(seconds)} at the pace of the stages done"
    work = "" if flops is None else f", {flops:.1e} floating-point operations"
    lines = [f"rough forecast: {_count(tokens)} tokens through the encoder{work}{pace}"]
    published = [f"{name} {rows:,}" for name, rows in rows_guessed.items() if rows is not None]
    unknown = [name for name, rows in rows_guessed.items() if rows is None]
    lines += [f"where files are missing, from published numbers of rows: {', '.join(published)}"] if published else []
    lines += [f"not included, at least in part: {', '.join(unknown)} (no published number)"] if unknown else []
    if devices is None:
        return "\n".join([*lines, "the encoder's shape is not known here, so operations and hours are not given"])
    times = [(one["name"], in_words(one["seconds"]), one["basis"]) for one in devices]
    return "\n".join([*lines, table(("on", "about", "if it does"), times, frozenset({1}))])


def _guessed(planned: Planned) -> dict[str, int | None]:
    """Published numbers of rows on which the forecast relies for missing files; None if not all are known."""
    given = planned.plan.recipe.substitutions
    needs = {need for every in planned.plan.needs.values() for need in every}
    read = {(*source_of(task, split, given), language) for task, split, language in needs}
    absent: dict[str, int | None] = {}
    for note in planned.data:
        if note.layout == "missing" and (note.task, note.split, note.language) in read:
            name = f"{note.task} {note.split}"
            rows = absent.get(name, 0)
            absent[name] = None if rows is None or note.published is None else rows + note.published
    return absent


def _peak(planned: Planned) -> dict[str, Any]:
    """Memory that the largest of the stages to do needs in its own process; None if there is no forecast."""
    stage, need = planned.largest or (None, None)
    return {
        "need_bytes": None if need is None else round(need),
        "stage": None if stage is None else stage.path,
        "does": None if stage is None else label(stage.work),
        "machine_bytes": machine_bytes(),
    }


def _memory(need_bytes: int | None, stage: str | None, does: str | None, machine_bytes: int) -> str:
    if need_bytes is None:
        return ""
    few = "; more than is available; --micro-batch-tokens of run reduces it" if need_bytes > machine_bytes else ""
    return (
        f"memory: {machine_bytes / 1e9:,.1f} GB here, need about {need_bytes / 1e9:,.1f} GB on the CPU for the largest"
        f" stage ({does}){few}"
    )


def _room(planned: Planned) -> dict[str, Any]:
    return {
        "store": planned.store.root,
        "free_bytes": free_bytes(planned.store.root),
        "need_bytes": {keep: planned.need_bytes(keep) for keep in ("all", "needed", "scores")},
    }


def _disk(store: Path, free_bytes: int, need_bytes: Mapping[str, int | None]) -> str:
    words = {keep: "unknown" if need is None else f"{need / 1e9:,.1f} GB" for keep, need in need_bytes.items()}
    less = f" ({words['needed']} with --keep needed or scores)" if words["needed"] != words["all"] else ""
    return f"disk: {free_bytes / 1e9:,.1f} GB free at {store}, need about {words['all']}{less}"


def _count(value: float) -> str:
    """A number with about three digits: "31.4 M"."""
    if value < 1e3:
        return f"{value:.0f}"
    scale, unit = (1e3, "k") if value < 1e6 else (1e6, "M") if value < 1e9 else (1e9, "G")
    return f"{value / scale:.1f} {unit}"
