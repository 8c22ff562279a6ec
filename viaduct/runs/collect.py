"""Turns stage directories into the records that a report is made of, at any time, for what is done so far.

A run's own directory holds its description (`recipe.json`, `run.json`) and its results (`about.json`, `rows.jsonl`,
`costs.jsonl`); the results can be rebuilt from the description and the store, without the data.
"""

from __future__ import annotations

import datetime
import glob
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from pydantic import Field, ValidationError

from viaduct.errors import StoreError
from viaduct.paths import run_directory
from viaduct.report.section import StageFile, sections
from viaduct.results.checksums import SEALED, sealed, unsealed
from viaduct.results.record import (
    About,
    DataNote,
    Record,
    ResultRow,
    StageCost,
    SubstitutionNote,
    Tried,
)
from viaduct.results.store import Store
from viaduct.results.writing import canonical, write_atomic
from viaduct.runs.description import chosen_by, marks, roles, settings
from viaduct.runs.encoder import encoder_details
from viaduct.runs.encoder_history import history, licence_of, seen_before
from viaduct.runs.field import generator
from viaduct.runs.identity import Standing, fingerprint_of, standing
from viaduct.runs.overlap import said
from viaduct.runs.placement import DIGITS, plain_path
from viaduct.runs.planned import Planned, remarks
from viaduct.runs.rows import substitution_for
from viaduct.runs.spec import Recipe
from viaduct.tasks.catalogue import Catalogue


class StageEntry(Record):
    """One stage of a run."""

    path: str
    kind: str
    arm: str
    task: str
    seed: int
    fingerprint: str


class CellEntry(Record):
    """One cell of the table for one seed, and where its scores are."""

    arm: str
    task: str
    task_version: int
    seed: int
    split: str
    substitution: str | None
    selection: str
    headline: str
    score: str
    setting: str = ""
    """The setting, of those that the recipe varies."""
    dev: str = ""
    """Path of the training whose dev score decides which setting is chosen."""
    chosen_on_scored: bool = False


class RunRecord(Record):
    """Description of a run, written before anything runs; enough to rebuild its records from the store."""

    recipe: Recipe
    encoder: str
    command: str
    created: str
    versions: dict[str, str]
    stages: tuple[StageEntry, ...]
    cells: tuple[CellEntry, ...]
    data: tuple[DataNote, ...]
    left_out: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    unknown_pieces: str | None = None
    not_chosen: tuple[CellEntry, ...] = ()
    """Cells of the settings that were not chosen by English dev scores (`runs.selection`)."""
    tried: tuple[Tried, ...] = ()
    parts: tuple[str, ...] = ()
    """For committed rows: the part files that existed when the run was added; () in older records."""
    about: About | None = None
    """Set when the record is added to committed rows, so that the store is no longer needed."""


TOLD = "encoders.json"
"""File in the directory of a page about several encoders; lists the runs that the page is made of."""


class Collected(NamedTuple):
    """What the report reads."""

    about: About
    rows: tuple[ResultRow, ...]
    costs: tuple[StageCost, ...]
    records: Mapping[str, tuple[Record, ...]]
    """What sections of the report read besides scores and costs, by `StageFile.name`."""


def run_record(planned: Planned, *, command: str, versions: dict[str, str]) -> RunRecord:
    """The record of a run that is about to start."""
    plan = planned.plan
    stages = tuple(
        StageEntry(
            **vars(plan.places[stage.path]),
            path=stage.path,
            kind=stage.work.kind,
            fingerprint=planned.identities[stage.path].fingerprint,
        )
        for stage in plan.stages
    )
    return RunRecord(
        recipe=Recipe.model_validate(plan.recipe),
        encoder=plan.encoder,
        command=command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions,
        stages=stages,
        cells=_cells(planned),
        data=planned.data,
        left_out=dict(plan.left_out),
        remarks=remarks(planned),
        leaks=said(planned.leaks),
        unknown_pieces=None if planned.unknown is None else planned.unknown.words,
    )


def _cells(planned: Planned) -> tuple[CellEntry, ...]:
    plan, found = planned.plan, []
    chosen_on = {arm.name: chosen_by(arm) for arm in plan.recipe.intermediates}
    chosen = {(arm, one.target) for one in planned.choices for arm in one.arms}
    for cell in plan.cells:
        card = planned.census.task(cell.target.task)
        substitution = substitution_for(card.name, cell.target.split, plan.recipe.substitutions)
        trained = chosen_on[cell.arm] if cell.target.training.evaluations else "last step"
        found.append(
            CellEntry(
                arm=cell.arm,
                task=card.name,
                task_version=card.version,
                seed=cell.seed,
                split=substitution.use_split if substitution else cell.target.split,
                substitution=substitution.words() if substitution else None,
                selection="untrained" if card.trained_on is None else trained,
                headline=card.metrics[0],
                score=cell.score.path,
                setting=cell.setting,
                dev="" if cell.dev is None else cell.dev.path,
                chosen_on_scored=(cell.arm, card.name) in chosen,
            )
        )
    return tuple(found)


def save_run(store: Store, record: RunRecord) -> Path:
    """Writes the run's record and returns its directory: the one with the recipe's name, or a separate one if a run of
    that name with other settings or another encoder has it."""
    plain = run_directory(store.root, record.recipe.run_name)
    digest = fingerprint_of({"stages": sorted(stage.fingerprint for stage in record.stages)})
    own = plain.with_name(f"{plain.name}@{digest[:DIGITS]}")
    plain.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(plain.parent / ".lock"):  # keeps runs that end at the same time from taking one directory
        places = (plain, *sorted(plain.parent.glob(f"{glob.escape(plain.name)}@*")))
        directory = next((one for one in places if not _is_another(store, one, record)), own)
        write_atomic(directory / "recipe.json", canonical(record.recipe.model_dump(mode="json")))
        write_atomic(directory / "run.json", canonical(sealed(record.model_dump(mode="json"))))
    return directory


def _is_another(store: Store, directory: Path, record: RunRecord) -> bool:
    """Whether a directory is another run's: one with started stages that `record` has with other or more settings."""
    try:
        there = load_run(directory)
    except StoreError:
        return (directory / TOLD).is_file()
    known = states(store, there)
    begun = [stage for stage in there.stages if known[stage.path] in ("done", "running", "interrupted", "given up")]
    if there.recipe.run_name != record.recipe.run_name or (begun and there.encoder != record.encoder):
        return True
    own, theirs = _settings(record), _settings(there)
    common = {plain_path(stage.path) for stage in begun} & own.keys()
    return any(own[path] != theirs[path] for path in common)


def _settings(record: RunRecord) -> dict[str, set[str]]:
    """Plain path -> the fingerprints of all stages of the run with this plain path."""
    found: dict[str, set[str]] = {}
    for stage in record.stages:
        found.setdefault(plain_path(stage.path), set()).add(stage.fingerprint)
    return found


def load_run(directory: Path) -> RunRecord:
    """The record of a run. Raises StoreError if the directory holds none, or one of another version."""
    path = directory / "run.json"
    if not path.is_file():
        raise StoreError(f"{directory} is not the directory of a run", fix="name <store>/runs/<recipe>")
    return parsed(json.dumps(unsealed(path, "start the run again, which rewrites it")), path)


def parsed(text: str | bytes, path: Path) -> RunRecord:
    """The record read from `path`, whose folder must have the recipe's name. Raises StoreError as `load_run` does."""
    try:
        record = RunRecord.model_validate_json(text)
    except ValidationError as error:
        unknown = [".".join(map(str, one["loc"])) for one in error.errors() if one["type"] == "extra_forbidden"]
        if unknown:
            what = f"{path} has fields that are not known here: {', '.join(unknown)}"
            raise StoreError(what, fix="install the package that the run was made with") from error
        raise StoreError(f"{path} is damaged or from another version", fix="start the run again") from error
    if record.recipe.name != path.resolve().parent.name.partition("@")[0]:  # @: other settings, or a quick look
        raise StoreError(
            f"{path} belongs to a run of the recipe {record.recipe.name}",
            fix=f"rename its folder to {record.recipe.name}, or restore the file",
        )
    return record


def states(store: Store, record: RunRecord) -> dict[str, Standing]:
    """Stage path -> the state of the run's own stage."""
    return {stage.path: standing(store, stage.path, stage.fingerprint) for stage in record.stages}


def finished(store: Store, record: RunRecord) -> dict[str, StageEntry]:
    """Stage path -> stage, of the run's own stages that are done."""
    return {stage.path: stage for stage in record.stages if store.has(stage.path, stage.fingerprint)}


def finished_scores(store: Store, record: RunRecord) -> Iterable[tuple[CellEntry, Mapping[str, Any], Path]]:
    """Each cell whose score is done, the identity of its stage (incomplete for committed rows), and the folder of its
    predictions, which may be missing."""
    done = finished(store, record)
    paths = {stage.fingerprint: stage.path for stage in record.stages}
    for cell in record.cells:
        if cell.score in done and (kept := store.record(cell.score)) is not None:
            identity = kept["identity"]
            made = paths.get(identity["inputs"].get("predictions"), cell.score)
            yield cell, identity, store.directory(made) / "predictions"


def collect(store: Store, record: RunRecord) -> Collected:
    """Rows and costs of what is done so far, and the run's description."""
    done = finished(store, record)
    rows = tuple(row for cell in record.cells if cell.score in done for row in _rows(store, record, cell, done))
    arms, others = _arms(store, record.cells, done), _arms(store, record.not_chosen, done)
    told = [stage for path, stage in done.items() if arms[path] or not others[path]]
    costs = tuple(_cost(store, record, stage, tuple(arms[path])) for path, stage in done.items())
    read = {file.name: tuple(_read(store, told, file)) for section in sections() for file in section.reads}
    made_from = {path: stage.fingerprint for path, stage in done.items()}
    return Collected(about(store, record).model_copy(update={"made_from": made_from}), rows, costs, read)


def _cost(store: Store, record: RunRecord, stage: StageEntry, arms: tuple[str, ...]) -> StageCost:
    own = {"arm": stage.arm, "task": stage.task, "seed": stage.seed, "encoder": record.encoder, "arms": arms}
    try:
        return StageCost.model_validate({**store.cost(stage.path), **own})
    except ValidationError as error:
        path = store.directory(stage.path)
        raise StoreError(f"{path / SEALED} is not a record of costs", fix=f"remove {path} and run again") from error


def _arms(store: Store, cells: Iterable[CellEntry], done: Mapping[str, StageEntry]) -> dict[str, dict[str, None]]:
    """Stage -> the arms whose scores depend on it: none for unfinished cells, and for stages after all results."""
    paths = {stage.fingerprint: path for path, stage in done.items()}
    found: dict[str, dict[str, None]] = {path: {} for path in done}
    for cell in cells:
        waiting = [cell.score] if cell.score in done else []
        while waiting:
            path = waiting.pop()
            if cell.arm not in found[path]:
                found[path][cell.arm] = None
                waiting += [paths[one] for one in store.inputs(path).values() if one in paths]
    return found


def _read(store: Store, stages: Iterable[StageEntry], file: StageFile[Any]) -> Iterable[Record]:
    """The records that these stages left in such a file; a shared stage is attributed to the arm in its path."""
    for stage in stages:
        if file.is_of(stage.kind) and (text := store.text(stage.path, file.file)) is not None:
            _, arm, *more = stage.path.split("/")
            yield file.read(text, stage.arm or (arm if more else ""), stage.seed, stage.path)


def _rows(store: Store, record: RunRecord, cell: CellEntry, done: Mapping[str, StageEntry]) -> Iterable[ResultRow]:
    work = (store.record(cell.score) or {}).get("identity", {}).get("work", {"task": cell.task})
    if (done[cell.score].kind, work.get("task")) != ("score", cell.task):
        raise StoreError(
            f"{store.directory(cell.score)} holds no scores of {cell.task}, but the run says that it does",
            fix="start the run again, which rewrites its record",
        )
    for score in json.loads(store.text(cell.score, "scores.json") or ""):
        yield ResultRow(
            **cell.model_dump(exclude={"headline", "score", "setting", "dev"}),
            recipe=record.recipe.run_name,
            encoder=record.encoder,
            headline=score["metric"] == cell.headline,
            fingerprint=done[cell.score].fingerprint,
            **score,
        )


def about(store: Store, record: RunRecord) -> About:
    """The run's description, as far as known now (an encoder that is not trained yet has no details)."""
    if record.about is not None:
        return record.about.model_copy(update={"tried": record.tried or record.about.tried})
    recipe, catalogue = record.recipe, Catalogue.builtin().with_files(record.recipe.cards)
    past, is_generated = history(recipe, catalogue), generator(recipe) is not None
    made = next((stage.path for stage in record.stages if stage.kind == "pretrain"), "")
    details = encoder_details(recipe, store.directory(made))
    if isinstance(recipe.encoder, str) and (licence := licence_of(recipe.encoder, recipe.revision)) is not None:
        details["licence"] = licence
    if record.unknown_pieces is not None:
        details["unknown pieces"] = record.unknown_pieces
    seen_tasks, seen_arms = ({}, {}) if is_generated else seen_before(recipe, past)
    return About(
        recipe=recipe.run_name,
        hypothesis=recipe.hypothesis,
        command=record.command,
        encoder=record.encoder,
        encoder_details={**details, "trained before on": past.words},
        arms=tuple(arm.name for arm in recipe.intermediates),
        tasks=tuple(target.task for target in recipe.targets),
        seeds=recipe.seeds,
        further_seeds=recipe.further_seeds,
        miniature=is_generated,
        substitutions=tuple(
            SubstitutionNote(task=one.task, split=one.split, used=one.used(), why=one.why)
            for one in recipe.substitutions
        ),
        data=record.data,
        settings=settings(recipe, catalogue),
        versions=record.versions,
        created=record.created,
        left_out={arm: "; ".join(lines) for arm, lines in record.left_out.items()},
        roles=roles(recipe),
        compare=recipe.compare,
        deciding=recipe.deciding,
        expected=recipe.expected,
        question=recipe.question,
        compare_unlike=recipe.compare_unlike,
        marks=_marks(record, catalogue),
        tried=record.tried,
        remarks=record.remarks,
        leaks=record.leaks,
        limit=recipe.limit,
        seen_tasks=seen_tasks,
        seen_arms=seen_arms,
    )


def _marks(record: RunRecord, catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """Arm -> what sets its results apart, including the number of settings that they are the best of."""
    found = {arm: list(words) for arm, words in marks(record.recipe, catalogue).items()}
    for arm in dict.fromkeys(one.arm for one in record.tried):
        tried = Counter(one.task for one in record.tried if one.arm == arm)
        for count in sorted(set(tried.values())):
            tasks = ", ".join(task for task, number in tried.items() if number == count)
            found.setdefault(arm, []).append(f"best of {count} settings on English dev: {tasks}")
    return {arm: tuple(words) for arm, words in found.items()}


def save_collected(directory: Path, collected: Collected) -> None:
    """Write the collected records as about.json and one .jsonl file per kind of record."""
    write_atomic(directory / "about.json", canonical(collected.about.model_dump(mode="json")))
    for name, records in {"rows": collected.rows, "costs": collected.costs, **collected.records}.items():
        dumped = (one.model_dump(mode="json") for one in records)
        lines = [json.dumps(one, sort_keys=True, ensure_ascii=False) + "\n" for one in dumped]
        if lines or name in ("rows", "costs"):
            write_atomic(directory / f"{name}.jsonl", "".join(lines))
        else:
            (directory / f"{name}.jsonl").unlink(missing_ok=True)
