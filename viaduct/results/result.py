"""The results of a run, for work in Python: tidy pandas data frames, read from the run's directory on demand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viaduct.errors import StoreError
from viaduct.results.record import ResultRow, StageCost

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCE = ("arm", "against", "task", "family", "difference", "low", "high", "verdict")
"""Columns of the differences that exist even if there is nothing to compare."""


@dataclass(frozen=True)
class Result:
    """A run's scores, differences and costs as its report has them.

    The frames raise StoreError if no report of the run has been written yet.
    """

    directory: Path
    """The directory of the run."""

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.directory / "report.html"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per score: recipe, encoder, arm, task, language, seed, metric, value (a fraction), n, n_missing, ...

        The columns are the fields of `ResultRow`; `headline` marks the metric that the main table shows.
        """
        return _frame(self._written["records"]["results"], ResultRow.model_fields)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """A row per pair of arms and task ("all": the mean over tasks), by language family where `family` is not "all".

        `difference` (a fraction, `arm` minus `against`, without English) with its 95 % interval `low` to `high`,
        p-values and `verdict`. No rows if there is nothing to compare.
        """
        lines = self._written["tables"].get("contrasts", [])
        return _frame(lines, lines[0] if lines else DIFFERENCE)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """A row per stage: arm, task ("" for stages that several targets share), stage, seed, seconds, tokens, ...

        The columns are the fields of `StageCost`.
        """
        return _frame(self._written["records"]["costs"], StageCost.model_fields)

    @cached_property
    def _written(self) -> Any:
        """The content of the report's machine-readable file."""
        path = self.directory / "report.json"
        if not path.is_file():
            fix = f"write one with viaduct report {self.directory}"
            raise StoreError(f"there is no report in {self.directory} yet", fix=fix)
        return json.loads(path.read_text(encoding="utf-8"))


def _frame(lines: list[dict[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    import pandas as pd  # slow to import, so only when a frame is requested

    return pd.DataFrame(lines, columns=list(columns))
