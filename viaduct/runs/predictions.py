"""A run's predictions row by row, for the pages that accompany its report: read from the store, with inputs and gold
values from the data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.errors import DataError, ViaductError
from viaduct.metrics.score import Outcomes, Predictions, scored
from viaduct.report.predictions import Answer, Example, Predicted
from viaduct.results.prediction_file import read_predictions
from viaduct.results.store import Store
from viaduct.rows import Row
from viaduct.runs.collect import CellEntry, RunRecord, finished_scores
from viaduct.runs.rows import RecipeData
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.predicted import Predicted as Asked


class _Made(NamedTuple):
    """One arm's predictions for one task."""

    cell: CellEntry
    folder: Path
    split: str
    """The split before substitution."""
    languages: tuple[str, ...]


class RunPredictions:
    """Iterates over a run's finished predictions that still exist, for the first seed of each arm, by language."""

    def __init__(self, store: Store, record: RunRecord, root: Path | None) -> None:
        """`root`: the data folder; None if it is not available, in which case nothing is yielded."""
        self._store, self._record, self._root = store, record, root
        self.problems: list[str] = []
        """Reasons why something is not shown."""

    def __iter__(self) -> Iterator[Predicted]:
        """Task by task, language by language."""
        if self._root is None:
            return
        catalogue = Catalogue.builtin().with_files(self._record.recipe.cards)
        data = RecipeData(DataFolder(self._root, catalogue), self._record.recipe.limit)
        for task, made in self._made().items():
            for language in dict.fromkeys(code for one in made for code in one.languages):
                own = [one for one in made if language in one.languages]
                try:
                    yield self._predicted(data, catalogue.task(task), language, own)
                except (ViaductError, OSError) as error:
                    self.problems.append(f"{task} {language}: {error}")

    def _made(self) -> dict[str, list[_Made]]:
        """Task -> the predictions of each arm."""
        found: dict[str, dict[str, _Made]] = {}
        for cell, identity, folder in finished_scores(self._store, self._record):
            own = found.setdefault(cell.task, {})
            if cell.arm not in own and folder.is_dir():
                work = identity["work"]
                own[cell.arm] = _Made(cell, folder, work["split"], tuple(work["languages"]))
        return {task: list(own.values()) for task, own in found.items()}

    def _predicted(self, data: RecipeData, card: Task, language: str, made: Sequence[_Made]) -> Predicted:
        """The predictions of one task and language. Raises DataError if they were not made for these rows."""
        first = made[0]
        rows = data.load(card.name, first.split, language, self._record.recipe.substitutions).rows
        given = {one.cell.arm: read_predictions(one.folder / f"{language}.jsonl", card, language, rows) for one in made}
        scores = {arm: _scores(card, rows, own) for arm, own in given.items()}
        asked = card.row_kind.predicted(card.name, language, card.labels, rows)
        wanted = dict.fromkeys(one for own in scores.values() for one in own)
        if not all(one in asked.rows for one in wanted):
            raise DataError("its rows are not those that were scored", fix="name the data that the run was made with")
        examples = []
        for row in (asked.rows[one] for one in wanted):
            answers = {
                arm: _answer(asked, row, own[row.id].prediction, scores[arm].get(row.id))
                for arm, own in given.items()
                if row.id in own
            }
            examples.append(Example(row.id, asked.input(row), asked.words(row, row.gold), answers))
        seeds = {one.cell.arm: one.cell.seed for one in made}
        return Predicted(card.name, language, first.cell.split, seeds, tuple(examples))


def _answer(asked: Asked, row: Row, given: Any, share: float | None) -> Answer:
    """A prediction, compared with the row's gold value; `share`: the metric's value for the row, if it gives one."""
    right = asked.is_right(row, given)
    return Answer(asked.words(row, given), share if right is None else float(right), asked.distance(row, given))


def _scores(card: Task, rows: Sequence[Row], given: Predictions) -> dict[str, float | None]:
    """Id of each scored row -> the share of it that is right; None if the metric does not give one."""
    outcomes = None if card.metric is None else scored(card.metric, rows, given).outcomes
    return dict.fromkeys(given) if outcomes is None else _shares(outcomes)


def _shares(outcomes: Outcomes) -> dict[str, float | None]:
    values: Mapping[str, Sequence[float]] = outcomes.values
    if "correct" in values:
        counts = zip(values["correct"], values["predicted"], values["gold"], strict=True)
        shares = [2 * right / (found + wanted) if found + wanted else 1.0 for right, found, wanted in counts]
    else:
        shares = [sum(own) / len(own) for own in zip(*values.values(), strict=True)]
    if outcomes.influences or not all(0 <= share <= 1 for share in shares):
        return dict.fromkeys(outcomes.ids)
    return dict(zip(outcomes.ids, map(float, shares), strict=True))
