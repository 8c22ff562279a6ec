"""Adds the finished stages of a run, and its description, to committed rows.

Next to the part files with the rows (`viaduct.results.committed`), a recipe's folder has `run.json.xz`, the description
of the run that was added last; the report needs nothing else. They contain no texts, pictures or paths of this machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import StoreError, UsageError
from viaduct.metrics.score import ByExample
from viaduct.report.section import sections
from viaduct.results.committed import PARTS, CommittedRows, KeptStage, add_part, packed, unpacked
from viaduct.results.record import About
from viaduct.results.store import Store
from viaduct.results.writing import write_atomic
from viaduct.runs.cautions import said_of_one_answer
from viaduct.runs.collect import RunRecord, StageEntry, about, parsed
from viaduct.runs.encoder import plain_name
from viaduct.runs.outcomes import ByLanguage, RunOutcomes
from viaduct.runs.score import SCORES
from viaduct.runs.selection import LOG
from viaduct.runs.stage import kind_of
from viaduct.tasks.catalogue import Catalogue

RECORD = "run.json.xz"
_FOLDERS = re.compile(r"(?<![\w.~-])(~|\.{1,2})?/(\S*/)?")
"""Matches the directory part of a path."""


def load_rows(folder: Path) -> RunRecord:
    """The record of the run that was added last. Raises StoreError for a folder without committed rows, a damaged one,
    and missing part files."""
    path = folder / RECORD
    if not path.is_file():
        raise StoreError(f"{folder} has no committed rows ({RECORD})", fix="add some with `viaduct rows RUN`")
    record, there = parsed(unpacked(path), path), {one.name for one in folder.glob(PARTS)}
    if (lost := sorted({*record.parts} - there)) or not there:
        what = f"{folder / lost[0]} is gone" if lost else f"all rows of {folder} are gone"
        raise StoreError(f"{what}, but {RECORD} lists them", fix=f"restore the files (git checkout -- {folder})")
    return record


class Added(NamedTuple):
    """What was added to committed rows."""

    scores: int
    before: int
    """Scores of the run that were already there."""
    foreign: int
    """Scores there that belong to other settings, seeds or data."""
    without: int
    """Finished scores that were left out because their outcomes by example are missing."""


def add_rows(record: RunRecord, store: Store, folder: Path) -> Added:
    """Add the finished stages of a run to the rows in a folder, created if missing; each file is written in one step.
    Raises UsageError for a quick look and if no score is done, StoreError for damaged rows."""
    if record.recipe.limit is not None:
        what = f"{record.recipe.run_name} is a quick look at a few rows, and committed rows are results"
        raise UsageError(what, fix="run the recipe without --limit")
    rows = CommittedRows(folder)
    own = {one.fingerprint: one for one in record.stages}
    done = {fingerprint: one for fingerprint, one in own.items() if store.has(one.path, fingerprint)}
    new = {fingerprint: one for fingerprint, one in done.items() if fingerprint not in rows.stages}
    outcomes, without = _outcomes(record, store, new)
    results = [one for one, stage in new.items() if one in outcomes or _is_measured(store, stage)]
    before = sum(one.kind == "score" for fingerprint, one in own.items() if fingerprint in rows.stages)
    if not outcomes and not before:
        left = f" ({without} without outcomes by example)" if without else ""
        fix = "make them with `viaduct report RUN --data FOLDER`" if without else "run it first, or name its --store"
        raise UsageError(f"no score of {record.recipe.name} is done{left}", fix=fix)
    wanted = _with_inputs(store, done, results) & new.keys()
    add_part(folder, [_kept(store, one, record) for fingerprint, one in new.items() if fingerprint in wanted], outcomes)
    told = about(store, record)
    told = told.model_copy(update={"remarks": (*told.remarks, *said_of_one_answer(store, record))})
    if before and (earlier := load_rows(folder).about) is not None:  # facts that only the store with the encoder has
        told = told.model_copy(update={"encoder_details": {**earlier.encoder_details, **told.encoder_details}})
    named = _public(record, told).model_copy(update={"parts": tuple(sorted(one.name for one in folder.glob(PARTS)))})
    write_atomic(folder / RECORD, packed(named.model_dump_json().encode()))
    foreign = sum(one.kind == "score" and fingerprint not in own for fingerprint, one in rows.stages.items())
    return Added(len(outcomes), before, foreign, without)


def _outcomes(record: RunRecord, store: Store, new: Mapping[str, StageEntry]) -> tuple[dict[str, ByLanguage], int]:
    """(fingerprint -> outcomes of every new score, {} if its metric has none; number of scores without outcomes)."""
    catalogue, kept = Catalogue.builtin().with_files(record.recipe.cards), RunOutcomes(store, record)
    cells = {cell.score: cell for cell in (*record.cells, *record.not_chosen)}
    found: dict[str, ByLanguage] = {}
    without = 0
    for fingerprint, stage in new.items():
        if (cell := cells.get(stage.path)) is not None:
            outcomes = kept.of(cell)
            if outcomes is None and isinstance(catalogue.task(cell.task).metric, ByExample):
                without += 1
            else:
                found[fingerprint] = outcomes or {}
    return found, without


def _is_measured(store: Store, stage: StageEntry) -> bool:
    """Whether a stage other than a score is a final result that reports read."""
    return stage.kind != "score" and not kind_of(stage.kind).leaves_encoder and bool(_texts(store, stage))


def _with_inputs(store: Store, done: Mapping[str, StageEntry], results: Iterable[str]) -> set[str]:
    """These stages and everything they depend on, as far as it is done."""
    found: set[str] = set()
    waiting = list(results)
    while waiting:
        one = waiting.pop()
        if one in done and one not in found:
            found.add(one)
            waiting += store.inputs(done[one].path).values()
    return found


def _kept(store: Store, stage: StageEntry, record: RunRecord) -> KeptStage:
    choosing = {cell.dev for cell in (*record.cells, *record.not_chosen)} if record.tried else set()
    log = store.text(stage.path, LOG) if stage.path in choosing else None
    return KeptStage(
        kind=stage.kind,
        fingerprint=stage.fingerprint,
        inputs=store.inputs(stage.path),
        cost={name: value for name, value in store.cost(stage.path).items() if name != "speed"},
        files=_texts(store, stage) | ({} if log is None else {LOG: log}),
    )


def _texts(store: Store, stage: StageEntry) -> dict[str, str]:
    """The stage's files that reports read, without fields that hold texts or pictures of the data."""
    found = {SCORES: text} if stage.kind == "score" and (text := store.text(stage.path, SCORES)) is not None else {}
    for file in (file for section in sections() for file in section.reads if file.is_of(stage.kind)):
        if file.committed and (text := store.text(stage.path, file.file)) is not None:
            emptied = dict.fromkeys(file.private, ())
            found[file.file] = json.dumps({**json.loads(text), **emptied}) if emptied else text
    return found


def _public(record: RunRecord, told: About) -> RunRecord:
    """The record with what its page says about the run, so that nothing else is needed, and without local paths."""
    recipe, command = record.recipe, _FOLDERS.sub("", record.command)
    starts = (recipe.encoder, *(arm.encoder for arm in recipe.intermediates))
    names = {one: plain_name(one) for one in starts if isinstance(one, str) and Path(one).expanduser().is_dir()}

    def named(texts: Mapping[str, str]) -> dict[str, str]:
        begun = {key: next((one for one in names if text.startswith(one)), "") for key, text in texts.items()}
        return {key: names.get(begun[key], "") + text.removeprefix(begun[key]) for key, text in texts.items()}

    arms = tuple(
        arm.model_copy(update={"encoder": names.get(arm.encoder or "", arm.encoder)}) for arm in recipe.intermediates
    )
    changed = {"encoder": names.get(str(recipe.encoder), recipe.encoder), "intermediates": arms}
    words = {"encoder_details": named(told.encoder_details), "settings": named(told.settings), "command": command}
    told = told.model_copy(update=words)
    return record.model_copy(update={"command": command, "about": told, "recipe": recipe.model_copy(update=changed)})
