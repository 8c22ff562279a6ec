"""The outcomes by example of a run, read from the store one task at a time. Those that older score stages did not leave
are made from their predictions.

Finished stages are never modified, so what is made later goes to the store's cache, under the stage's fingerprint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, StoreError, ViaductError
from viaduct.metrics.score import ByExample
from viaduct.paths import cache_directory
from viaduct.results.checksums import require_whole
from viaduct.results.committed import NO_ROWS, CommittedRows
from viaduct.results.outcomes import FILE, LanguageOutcomes, packed, read_outcomes, write_outcomes
from viaduct.results.store import Store
from viaduct.runs.collect import CellEntry, RunRecord, finished
from viaduct.runs.rows import RecipeData
from viaduct.runs.score import SCORES, entries, examined
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

ByLanguage: TypeAlias = Mapping[str, LanguageOutcomes]


class RunOutcomes:
    """The outcomes by example of a run's finished scores; only what `task` returned stays in memory."""

    def __init__(self, store: Store, record: RunRecord, rows: CommittedRows = NO_ROWS) -> None:
        """`rows`: committed rows, for stages that the store does not have."""
        self._store, self._record, self._rows = store, record, rows
        done = finished(store, record)
        self._fingerprints = {stage.path: stage.fingerprint for stage in record.stages}
        self._cells = tuple(cell for cell in record.cells if cell.score in done)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a finished score."""
        return tuple(dict.fromkeys(cell.task for cell in self._cells))

    def task(self, name: str) -> dict[str, dict[int, ByLanguage | None]]:
        """Arm -> seed -> language -> outcomes; None if a stage left scores but no outcomes (an older store, a metric
        that has none), and no entry if there is no score yet. A task without finished scores gives {}.

        Raises StoreError for a damaged file.
        """
        shared: dict[tuple[str, bytes], NDArray[np.int32]] = {}
        found: dict[str, dict[int, ByLanguage | None]] = {}
        for cell in self._cells:
            if cell.task == name:
                found.setdefault(cell.arm, {})[cell.seed] = self._read(cell, shared)
        return found

    def of(self, cell: CellEntry) -> ByLanguage | None:
        """Language -> outcomes of one finished cell; None if it has none."""
        return self._read(cell, {})

    def make_missing(self, data: Callable[[], Path | None]) -> Iterator[str]:
        """Make the outcomes that older score stages did not leave, from their predictions and the gold rows of the data
        folder. Yields lines on what could and could not be made. `data` is called only if something is missing."""
        catalogue = Catalogue.builtin().with_files(self._record.recipe.cards)
        cells = {
            cell.score: cell
            for cell in sorted(self._cells, key=lambda cell: cell.task)  # so that each task's rows are read once
            if isinstance(catalogue.task(cell.task).metric, ByExample) and self._is_missing(cell)
        }
        root = data() if cells else None
        if cells and root is None:
            yield f"{_scores(len(cells))} without outcomes by example: name the data sets with --data to make them"
        if root is None:
            return
        started, problems = time.monotonic(), []
        rows = RecipeData(DataFolder(root, catalogue))
        for cell in cells.values():
            try:
                self._make(cell, rows)
            except (ViaductError, OSError) as error:  # also if the store is read-only
                problems.append(f"{cell.score}: {error}")
        if made := len(cells) - len(problems):
            seconds = time.monotonic() - started
            yield f"outcomes by example made from predictions: {_scores(made)}, {seconds:.1f} s (once)"
        if problems:
            yield f"outcomes by example cannot be made: {_scores(len(problems))}, the first is {problems[0]}"

    def _read(self, cell: CellEntry, shared: dict[tuple[str, bytes], NDArray[np.int32]]) -> ByLanguage | None:
        folder = self._folder(cell)
        kept = self._rows.outcomes(self._fingerprints[cell.score]) if folder is None else None
        outcomes = kept if folder is None else read_outcomes(folder)
        if outcomes is None:
            return None
        # Models scored on the same rows share one array of unit numbers, which in BUCC is larger than the counts.
        return {
            code: replace(one, units=shared.setdefault((one.ids, one.units.tobytes()), one.units))
            for code, one in outcomes.items()
        }

    def _is_missing(self, cell: CellEntry) -> bool:
        return self._folder(cell) is None and self._fingerprints[cell.score] not in self._rows.stages

    def _whole(self, path: str) -> Path:
        require_whole(self._store.directory(path))
        return self._store.directory(path)

    def _folder(self, cell: CellEntry) -> Path | None:
        """The folder with the outcomes of a finished score; None if there are none. Raises StoreError if damaged."""
        folders = (self._store.directory(cell.score), self._made(cell))
        require_whole(folders[0], FILE)
        return next((folder for folder in folders if (folder / FILE).is_file()), None)

    def _made(self, cell: CellEntry) -> Path:
        return cache_directory(self._store.root) / "outcomes" / self._fingerprints[cell.score]

    def _make(self, cell: CellEntry, data: RecipeData) -> None:
        """Score the predictions again and write the outcomes. Raises DataError if the stored scores differ."""
        identity = (self._store.record(cell.score) or {})["identity"]
        wanted = identity["inputs"]["predictions"]
        predictions = next((path for path, found in self._fingerprints.items() if found == wanted), None)
        if predictions is None:
            raise StoreError("its predictions are not a stage of this run", fix="run the recipe again")
        card, work = data.task(cell.task), identity["work"]
        found = {}
        for code in work["languages"]:
            rows = data.load(cell.task, work["split"], code, self._record.recipe.substitutions).rows
            found[code] = rows, examined(card, code, rows, self._whole(predictions))
        if entries(found) != json.loads((self._store.directory(cell.score) / SCORES).read_text(encoding="utf-8")):
            raise DataError(
                "its predictions and these gold rows do not give the scores that it recorded",
                fix="name the data that the run was made with",
            )
        self._made(cell).mkdir(parents=True, exist_ok=True)
        write_outcomes(self._made(cell), packed(card, found))


def _scores(count: int) -> str:
    return f"{count:,} finished score{'s' * (count != 1)}"
