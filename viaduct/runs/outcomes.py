"""The outcomes by example of a run, read from the store one task at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.results.outcomes import LanguageOutcomes, read_outcomes
from viaduct.results.store import Store
from viaduct.runs.collect import CellEntry, RunRecord, states

ByLanguage: TypeAlias = Mapping[str, LanguageOutcomes]


class RunOutcomes:
    """What is done of a run, by example; nothing stays in memory but what `task` returned."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store = store
        done = {path for path, state in states(store, record).items() if state == "done"}
        self._cells = tuple(cell for cell in record.cells if cell.score in done)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a finished score."""
        return tuple(dict.fromkeys(cell.task for cell in self._cells))

    def task(self, name: str) -> dict[str, dict[int, ByLanguage | None]]:
        """Arm -> seed -> language -> outcomes; None where a stage left scores but no outcomes (an older store, a metric
        that has none), and no entry where there is no score yet. A task without finished scores gives {}.

        Raises StoreError for a damaged file.
        """
        shared: dict[tuple[str, bytes], NDArray[np.int32]] = {}
        found: dict[str, dict[int, ByLanguage | None]] = {}
        for cell in self._cells:
            if cell.task == name:
                found.setdefault(cell.arm, {})[cell.seed] = self._read(cell, shared)
        return found

    def _read(self, cell: CellEntry, shared: dict[tuple[str, bytes], NDArray[np.int32]]) -> ByLanguage | None:
        outcomes = read_outcomes(self._folder(cell))
        if outcomes is None:
            return None
        # Models that were scored on the same rows share one array of numbers: of BUCC these are larger than the counts.
        return {
            code: replace(one, units=shared.setdefault((one.ids, one.units.tobytes()), one.units))
            for code, one in outcomes.items()
        }

    def _folder(self, cell: CellEntry) -> Path:
        return self._store.directory(cell.score)
