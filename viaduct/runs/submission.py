"""From a run's predictions to an XTREME submission folder, and the labels of the same rows in the same formats.

A line-by-line file cannot say that a prediction is missing, so none may be; an unanswered question is left out, as is a
sentence with nothing above the mining threshold.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from viaduct.errors import DataError, StoreError, UsageError, unknown
from viaduct.metrics.score import Predictions
from viaduct.results.prediction_file import read_predictions
from viaduct.results.store import Store
from viaduct.results.xtreme import FOLDERS, Folder, Shape
from viaduct.rows import Pair, Row, Sentence, Span, Tagged
from viaduct.runs.grid import Cell, Plan
from viaduct.runs.rows import load, substitution_for
from viaduct.runs.stage import ScoreWork
from viaduct.tasks.registry import task as card_of

Gold = TypeVar("Gold")


def choose(plan: Plan, arm: str | None, seed: int | None) -> dict[Folder, Cell]:
    """The cells of one arm and seed by folder; retrieval without seeds of its own comes from the seed that it has.

    Raises UsageError when the arm or seed is left open and there are several, and when there is no such arm or seed.
    """
    arms = list(dict.fromkeys(cell.arm for cell in plan.cells))
    arm = _one("arm", arms, arm)
    cells = [cell for cell in plan.cells if cell.arm == arm]
    seeds = [str(one) for one in sorted({cell.seed for cell in cells})]
    number = int(_one("seed", seeds, None if seed is None else str(seed)))
    found: dict[Folder, Cell] = {}
    for folder in FOLDERS:
        mine = [cell for cell in cells if cell.target.task == folder.card]
        at_seed = [cell for cell in mine if cell.seed == number]
        if at_seed or len(mine) == 1:
            found[folder] = (at_seed or mine)[0]
    if not found:
        raise UsageError("this run has no task of XTREME", fix="a submission is made of the nine tasks of XTREME")
    return found


def _one(what: str, known: Sequence[str], given: str | None) -> str:
    if given is None and len(known) == 1:
        return known[0]
    if given is None:
        raise UsageError(f"this run has several {what}s: {', '.join(known)}", fix=f"choose one with --{what}")
    if given not in known:
        raise unknown(what, given, known)
    return given


def holes(cells: Mapping[Folder, Cell]) -> tuple[str, ...]:
    """What these cells lack of a whole submission: tasks, languages, the official split."""
    notes = []
    for folder in FOLDERS:
        if folder not in cells:
            notes.append(f"{folder.name}: not in this run")
            continue
        work = cells[folder].score.work
        assert isinstance(work, ScoreWork)  # noqa: S101  the grid's contract
        absent = [language for language in folder.languages if language not in work.languages]
        notes += [f"{folder.name}: without {' '.join(absent)}"] if absent else []
        substitution = substitution_for(work.task, work.split, work.substitutions)
        notes += [f"{folder.name}: {substitution.words()}"] if substitution else []
    return tuple(notes)


def write(cells: Mapping[Folder, Cell], store: Store, data: Path, directory: Path, labels: Path | None) -> int:
    """The number of prediction files written below `directory`; the gold files go below `labels`, unless None.

    Both folders appear whole or not at all. Raises StoreError for predictions that are not made yet, UsageError for a
    folder that is there, DataError for rows without prediction or (with `labels`) without label.
    """
    for folder, cell in cells.items():
        stage = cell.score.inputs["predictions"].path
        if store.record(stage) is None:
            raise StoreError(f"the predictions of {folder.name} are not made yet ({stage})", fix="finish the run first")
    wanted = [path for path in (directory, labels) if path is not None]
    for path in wanted:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is there and not empty", fix="name a new folder, or remove this one")
        path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = [Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) for path in wanted]
    try:
        count = _fill(cells, store, data, unfinished[0], unfinished[1] if labels is not None else None)
        for made, path in zip(unfinished, wanted, strict=True):
            made.chmod(0o755)
            made.replace(path)
    finally:
        for made in unfinished:
            shutil.rmtree(made, ignore_errors=True)
    return count


def _fill(cells: Mapping[Folder, Cell], store: Store, data: Path, directory: Path, labels: Path | None) -> int:
    count = 0
    for folder, cell in cells.items():
        work = cell.score.work
        assert isinstance(work, ScoreWork)  # noqa: S101  the grid's contract
        made = store.directory(cell.score.inputs["predictions"].path) / "predictions"
        for language in work.languages:
            rows = load(data, work.task, work.split, language, work.substitutions).rows
            given = read_predictions(made / f"{language}.jsonl", card_of(work.task), language, rows)
            try:
                _write(folder.path(directory, language), PREDICTED[folder.shape](rows, given))
                if labels is not None:
                    _write(folder.path(labels, language), LABELS[folder.shape](rows))
            except DataError as error:
                raise DataError(f"{work.task} {language}: {error}") from error
            count += 1
    return count


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def predicted_lines(rows: Sequence[Row], given: Predictions) -> str:
    """A label per pair of texts; for retrieval the index of each English sentence's translation."""
    if isinstance(rows[0], Sentence):
        place = _places(rows)
        return _lines(str(place[_of(given, row)]) for row in _queries(rows))
    return _lines(str(_of(given, row)) for row in rows)


def label_lines(rows: Sequence[Row]) -> str:
    """As `predicted_lines`, of the gold rows."""
    if isinstance(rows[0], Sentence):
        place = _places(rows)
        return _lines(str(place[_known(row, row.match)[0]]) for row in _queries(rows))
    return _lines(_known(row, row.label) for row in rows if isinstance(row, Pair))


def predicted_tags(rows: Sequence[Row], given: Predictions) -> str:
    """A tag per line, a blank line after each sentence."""
    return "".join(_lines([*_of(given, row), ""]) for row in rows)


def label_tags(rows: Sequence[Row]) -> str:
    """As `predicted_tags`, of the gold rows."""
    return "".join(_lines([*_known(row, row.tags), ""]) for row in rows if isinstance(row, Tagged))


def predicted_pairs(rows: Sequence[Row], given: Predictions) -> str:
    """The two ids of each pair found, in the order of the sentences."""
    found = [(row.id, given[row.id].prediction) for row in rows if row.id in given]
    several = [(source, target if isinstance(target, list) else [target]) for source, target in found]
    return _lines(f"{source}\t{one}" for source, targets in several for one in targets if one is not None)


def label_pairs(rows: Sequence[Row]) -> str:
    """As `predicted_pairs`, of the gold rows."""
    sources = [row for row in rows if isinstance(row, Sentence) and row.side == "source"]
    return _lines(f"{row.id}\t{target}" for row in sources for target in _known(row, row.match))


def predicted_answers(rows: Sequence[Row], given: Predictions) -> str:
    """JSON: question id to answer."""
    return json.dumps({row.id: given[row.id].prediction for row in rows if row.id in given}, ensure_ascii=False) + "\n"


def label_answers(rows: Sequence[Row]) -> str:
    """SQuAD's JSON, a paragraph per question."""
    paragraphs = [
        {
            "context": row.context,
            "qas": [
                {
                    "id": row.id,
                    "question": row.question,
                    "answers": [{"text": one.text, "answer_start": one.start} for one in _known(row, row.answers)],
                }
            ],
        }
        for row in rows
        if isinstance(row, Span)
    ]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}, ensure_ascii=False) + "\n"


def _queries(rows: Sequence[Row]) -> list[Sentence]:
    """The English sentences in XTREME's order: by code points, equal ones as in the file (utils_preprocess.py)."""
    english = [row for row in rows if isinstance(row, Sentence) and row.side == "target"]
    return sorted(english, key=lambda row: row.text)


def _places(rows: Sequence[Row]) -> dict[str, int]:
    """Id of each sentence of the other language -> its line, from 0."""
    sources = [row for row in rows if isinstance(row, Sentence) and row.side == "source"]
    return {row.id: place for place, row in enumerate(sources)}


def _of(given: Predictions, row: Row) -> Any:
    """The row's prediction."""
    if row.id not in given:
        raise DataError(f"row '{row.id}' has no prediction, and the format has no way to say so")
    return given[row.id].prediction


def _known(row: Row, gold: Gold | None) -> Gold:
    """The row's gold, which must be there."""
    if gold is None:
        raise DataError(f"row '{row.id}' has no gold label", fix="write the submission without --labels")
    return gold


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


PREDICTED: dict[Shape, Callable[[Sequence[Row], Predictions], str]] = {
    "lines": predicted_lines,
    "tags": predicted_tags,
    "pairs": predicted_pairs,
    "answers": predicted_answers,
}
LABELS: dict[Shape, Callable[[Sequence[Row]], str]] = {
    "lines": label_lines,
    "tags": label_tags,
    "pairs": label_pairs,
    "answers": label_answers,
}
