"""Chooses the setting that is the result, among those tried: for each arm and task, the best English dev score.

Test scores play no part in it: they are only read after the choice, for the table of settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean

from viaduct.results.record import Tried
from viaduct.results.store import Store
from viaduct.runs.collect import CellEntry, RunRecord
from viaduct.runs.identity import standing

LOG = "training.json"
"""File that a training leaves, with its scores on English dev."""


def with_choices(store: Store, record: RunRecord) -> RunRecord:
    """The record with the cells of one setting for each arm and task: the one with the best mean dev score over its
    seeds, the first if there is a tie; none for an arm and task until all its settings are trained or given up."""
    groups: dict[tuple[str, str], dict[str, list[CellEntry]]] = {}
    for cell in record.cells:
        groups.setdefault((cell.arm, cell.task), {}).setdefault(cell.setting, []).append(cell)
    taken: list[CellEntry] = []
    tried: list[Tried] = []
    known = {stage.path: stage.fingerprint for stage in record.stages}
    for (arm, task), settings in groups.items():
        if len(settings) == 1:
            taken += next(iter(settings.values()))
            continue
        dev = {name: _dev(store, known, cells) for name, cells in settings.items()}
        lost = {name for name, cells in settings.items() if any(_is_given_up(store, known, cell) for cell in cells)}
        complete = {name: score for name, score in dev.items() if score is not None and name not in lost}
        best = max(complete, key=complete.__getitem__) if complete and len({*complete, *lost}) == len(dev) else None
        taken += settings.get(best or "", [])
        for name, cells in settings.items():
            test, seeds = _test(store, known, cells), tuple(cell.seed for cell in cells)
            tried.append(
                Tried(
                    arm=arm,
                    task=task,
                    setting=name,
                    seeds=seeds,
                    dev=dev[name],
                    test=test,
                    chosen=name == best,
                    given_up=name in lost,
                )
            )
    if not tried:
        return record
    left = tuple(cell for cell in record.cells if cell not in taken)
    return record.model_copy(update={"cells": tuple(taken), "not_chosen": left, "tried": tuple(tried)})


def _is_given_up(store: Store, known: Mapping[str, str], cell: CellEntry) -> bool:
    return standing(store, cell.score, known[cell.score]) == "given up"


def _dev(store: Store, known: Mapping[str, str], cells: Sequence[CellEntry]) -> float | None:
    """The mean over seeds of the best score on English dev; None if a training is not finished."""
    scores = []
    for cell in cells:
        log = _left(store, known, cell.dev, LOG)
        if log is None:
            return None
        scores.append(max(one["score"] for one in json.loads(log)["evaluations"]))
    return fmean(scores)


def _test(store: Store, known: Mapping[str, str], cells: Sequence[CellEntry]) -> float | None:
    """The mean over seeds and languages of the headline metric; None if a score is not finished."""
    values: list[float] = []
    for cell in cells:
        text = _left(store, known, cell.score, "scores.json")
        if text is None:
            return None
        values += [one["value"] for one in json.loads(text) if one["metric"] == cell.headline]
    return fmean(values)


def _left(store: Store, known: Mapping[str, str], path: str, name: str) -> str | None:
    """The text of a file that this run's own stage left; None if the stage is not finished."""
    return store.text(path, name) if store.has(path, known[path]) else None
