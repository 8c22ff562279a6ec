"""A recipe checked against the data and the store before anything runs: what exists, what the run will cost, what to
know before trusting its numbers.

Forecast costs serve to order stages by size and to tell hours from weeks; they are never reported as measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from viaduct.errors import StoreError
from viaduct.paths import free_bytes, planning_cache
from viaduct.results.committed import NO_ROWS, CommittedRows, StoreWithRows
from viaduct.results.record import DataNote, differing_counts
from viaduct.results.store import Store
from viaduct.runs.census import Census, Memory
from viaduct.runs.encoder import Shape, is_tower, shape_of
from viaduct.runs.encoder_check import Unknown, require_folder, said_of_code, unknown_pieces
from viaduct.runs.encoder_history import history, said_of_arms, said_of_history
from viaduct.runs.field import generator
from viaduct.runs.identity import Identity, Standing, identities, is_done, standing
from viaduct.runs.keep import peak
from viaduct.runs.kept import of_plan, said_of_rows
from viaduct.runs.overlap import Overlap, blocking, chosen_on_scored, said, said_of_choices
from viaduct.runs.parts import RecipeParts
from viaduct.runs.placement import placed, setting_in
from viaduct.runs.plan import Plan, outline
from viaduct.runs.row_comparison import overlaps
from viaduct.runs.rows import RecipeData, concerning, source_of
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Stage, kind_of
from viaduct.runs.validate import repeated, require_baseline
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

CHECKPOINT_COPIES = 8
"""Disk space of one running training stage, in multiples of the model's size: two checkpoints of the weights and two
moments, each with the best weights so far."""


START_SECONDS = 8.0
"""Fixed time of a run: loading libraries, and the report."""


class Load(NamedTuple):
    """The cost of stages, independent of the device."""

    flops: float
    width: int
    """Width of the encoder."""
    layer_passes: float
    """How often a layer, or the modules around the layers, are called."""
    seconds: float
    """Time that is the same on any device: opening and writing models, other processes, the report."""


@dataclass(frozen=True)
class Planned:
    """A checked and expanded recipe, with what the store already holds."""

    plan: Plan
    identities: Mapping[str, Identity]
    """Stage path -> identity; incomplete where data are missing."""
    states: Mapping[str, Standing]
    estimates: Mapping[str, Estimate]
    spent: Mapping[str, float]
    """Seconds that the finished stages took."""
    data: tuple[DataNote, ...]
    store: StoreWithRows
    census: Census
    overlaps: tuple[Overlap, ...]
    """Rows that are both trained and evaluated on; not searched for if data are missing or generated."""
    unknown: Unknown | None = None
    """Evaluation text that the encoder's tokenizer does not know; None if the tokenizer is not available (yet)."""

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """The overlaps that stop a run, unless it is told to continue."""
        return blocking(self.overlaps, self.plan.recipe, self.census.data.folder.catalogue)

    @property
    def choices(self) -> tuple[Overlap, ...]:
        """The overlaps by which something is chosen on the rows that are scored."""
        return chosen_on_scored(self.overlaps, self.plan.recipe)

    @property
    def waiting(self) -> list[str]:
        """Paths of the stages that are neither done nor given up."""
        return [path for path, state in self.states.items() if state not in ("done", "given up")]

    def need_bytes(self, keep: str = "all") -> int | None:
        """Approximate peak disk space that the remaining stages need in the store: models, and tokenised rows, which
        are kept regardless of `keep`; None if the encoder's size is unknown."""
        models = disk_need(self.plan, self.waiting, keep)
        return None if models is None else models + round(TOKEN_BYTES * self._read[1])

    @property
    def load(self) -> Load | None:
        """Approximate load of the remaining stages; None if the encoder's shape is unknown."""
        shape = shape_of(self.plan.recipe.encoder, self.plan.recipe.revision)
        if shape is None:
            return None
        waiting = set(self.waiting)
        todo = [(stage, self.estimates[stage.path]) for stage in self.plan.stages if stage.path in waiting]
        passes = sum(one.steps * one.weight / one.tokens for _, one in todo if one.tokens)
        fixed = sum(one.seconds + _opening(stage, shape) for stage, one in todo) + START_SECONDS * bool(todo)
        return Load(self._weight * shape.token_flops, shape.width, passes * (shape.layers + 1), fixed)

    @property
    def largest(self) -> tuple[Stage, float] | None:
        """The remaining stage that holds most memory, and approximately how many bytes, including the rows that its
        process keeps; None if none is forecast."""
        waiting = set(self.waiting)
        peaks = [(one, self.estimates[one.path].peak_bytes) for one in self.plan.stages if one.path in waiting]
        held = ROW_BYTES * self._read[0]
        told = ((one, peak + held) for one, peak in peaks if peak is not None)
        return max(told, key=lambda two: two[1], default=None)

    @cached_property
    def _read(self) -> tuple[int, float]:
        """(rows, tokens) that the remaining stages read."""
        needs = dict.fromkeys(need for path in self.waiting for need in self.plan.needs[path])
        return Sizes(tuple(needs), self.plan.recipe.substitutions, self.census, None).of(needs)

    @property
    def seconds(self) -> float | None:
        """Forecast for the remaining stages, from the pace of the finished ones; None if there are none."""
        found = pace(self.estimates, self.spent)
        return None if found is None else found * self._weight

    @property
    def _weight(self) -> float:
        return sum(self.estimates[path].weight for path in self.waiting)


def plan_recipe(recipe: RecipeParts, data: Path, store: Path, rows: CommittedRows = NO_ROWS) -> Planned:
    """The recipe's stages, checked against the data (an absolute path), the store and committed rows; nothing runs.

    Missing data are listed in its plan's `missing`. Raises UsageError (also for an incomplete encoder folder),
    DataError for damaged files, or StoreError (a directory holds another experiment).
    """
    cache = planning_cache(store)
    for start in (recipe.encoder, *(arm.encoder for arm in recipe.intermediates)):
        if isinstance(start, str) and (folder := Path(start).expanduser()).is_dir() and not is_tower(folder):
            require_folder(folder, cache)
    used = _used_files(store)
    census = census_of(recipe, data, store, used)
    plan = outline(recipe, census)
    unknown = unknown_pieces(plan, census, cache)
    if unknown is not None and not recipe.allow_unknown:
        unknown.require()
    plan, found = placed(plan, identities(plan, census.data, Store(store)), Store(store))
    kept = of_plan(plan, found, Store(store), rows)
    if not plan.missing:
        for stage in plan.stages:
            is_done(kept, stage, found[stage.path])
    require_baseline(recipe)
    compared = not plan.missing and generator(plan.recipe) is None
    states = {
        path: standing(kept, path, one.fingerprint, one.content if plan.missing else None)
        for path, one in found.items()
    }
    planned = Planned(
        plan=plan,
        identities=found,
        states=states,
        estimates=estimates(plan, census),
        spent={
            path: float(kept.cost(path)["seconds"])
            for path, state in states.items()
            if state == "done" and path not in kept.kept  # kept ones were not computed here
        },
        data=_data_notes(plan, census),
        store=kept,
        census=census,
        overlaps=overlaps(plan.recipe, census, cache and cache / "overlap.json") if compared else (),
        unknown=unknown,
    )
    census.memory.save()
    used.save()
    return planned


def census_of(recipe: RecipeParts, data: Path, store: Path, used: Memory[str] | None = None) -> Census:
    """The data folder (an absolute path) as a recipe reads it; `used`: what is remembered of the files that readers
    use."""
    known = (used or _used_files(store)).known
    held, cache = DataFolder(data, Catalogue.builtin().with_files(recipe.cards), known), planning_cache(store)
    return Census(RecipeData(held, recipe.limit), cache and cache / "census.json")


def _used_files(store: Path) -> Memory[str]:
    cache = planning_cache(store)
    return Memory(cache and cache / "used_files.json", TypeAdapter(str))


def placed_anew(planned: Planned) -> Planned:
    """The same, placed again next to stages of other settings that other processes have since made or started."""
    store = Store(planned.store.root)
    plan, found = placed(planned.plan, planned.identities, store)
    return replace(planned, plan=plan, identities=found, store=of_plan(plan, found, store, planned.store.rows))


def _data_notes(plan: Plan, census: Census) -> tuple[DataNote, ...]:
    """How many rows were found for everything the plan reads; missing data have layout "missing" and 0 rows."""
    read = {
        (*source_of(task, split, stage.work.declared), language): None
        for stage in plan.stages
        for task, split, language in plan.needs[stage.path]
    }
    notes = {one: _note(census, *one) for one in read}
    for target in plan.recipe.targets:
        source, used = source_of(target.task, target.split, plan.recipe.substitutions)
        for language in plan.absent.get(target.task, ()):
            notes[source, used, language] = _absent(census, source, used, language)
    return tuple(notes.values())


def _note(census: Census, task: str, split: str, language: str) -> DataNote:
    if census.problem(task, split, language, labelled=False) is not None:
        return _absent(census, task, split, language)
    return census.note(task, split, language)


def _absent(census: Census, task: str, split: str, language: str) -> DataNote:
    card = census.task(task)
    published = card.expected.get((language, split)) if language in card.languages else None
    return DataNote(task=task, split=split, language=language, layout="missing", found=0, published=published)


def estimates(plan: Plan, census: Census) -> Mapping[str, Estimate]:
    """Stage path -> estimate of its tokens, steps and work."""
    shape = shape_of(plan.recipe.encoder, plan.recipe.revision)
    return {stage.path: _estimate(stage, plan, census, shape) for stage in plan.stages}


def _estimate(stage: Stage, plan: Plan, census: Census, shape: Shape | None) -> Estimate:
    """The estimate of one stage; the weight that it has in its own encoder is in passes of the recipe's encoder."""
    own = _begun_with(stage, shape)
    sizes = Sizes(plan.needs[stage.path], stage.work.declared, census, shape, own)
    whole = kind_of(stage.work.kind).forecast(stage.work, sizes)
    if own is None or shape is None:
        return whole
    return replace(whole, weight=whole.weight * own.token_flops / shape.token_flops)


def _opening(stage: Stage, shape: Shape) -> float:
    """Approximate seconds that a stage spends on opening models and writing them with their checksums."""
    kind, gigabytes = kind_of(stage.work.kind), shape.num_bytes / 1e9
    if kind.leaves_encoder:
        return 1.0 + 6.0 * gigabytes
    return 0.4 + gigabytes if kind.starts_from_encoder else 0.1


def _begun_with(stage: Stage, shape: Shape | None) -> Shape | None:
    """The shape of the encoder that a stage starts from, where the recipe's encoder has `shape`: an earlier stage may
    have replaced it, or removed layers."""
    source = stage.inputs.get("encoder")
    return shape if source is None else _left_by(source, shape)


def _left_by(stage: Stage, shape: Shape | None) -> Shape | None:
    kind = kind_of(stage.work.kind)
    own = kind.shape_left(stage.work) or _begun_with(stage, shape)
    layers = kind.layers_left(stage.work)
    return own if own is None or layers is None else own._replace(layers=layers)


def pace(estimates: Mapping[str, Estimate], seconds: Mapping[str, float]) -> float | None:
    """Seconds per unit of weight in the finished stages (path -> `seconds`) that use the encoder; None without any."""
    paths = [path for path in seconds if estimates[path].tokens]
    weight = sum(estimates[path].weight for path in paths)
    return sum(seconds[path] for path in paths) / weight if weight else None


ROW_BYTES = 500.0
"""Memory of a row: 440 for a pair, 510 for a question, 1,000 to 1,900 for a tagged sentence (measured)."""
TOKEN_BYTES = 8.0
"""Size of a token in the store's cache, including the index of row starts (measured: 7.6 for short pairs)."""


def disk_need(plan: Plan, waiting: Iterable[str], keep: str = "all") -> int | None:
    """Approximate peak bytes on disk that the stages in `waiting` need; None if the encoder's size is unknown. Stages
    save float32; for a folder of unknown shape, its files say how much that is."""
    shape, paths = shape_of(plan.recipe.encoder, plan.recipe.revision), set(waiting)
    weights = _file_bytes(plan.recipe) if shape is None else shape.num_bytes
    if not weights:
        return None
    left = [stage for stage in plan.stages if stage.path in paths and kind_of(stage.work.kind).leaves_encoder]
    sizes = {
        stage.path: weights if (own := _left_by(stage, shape)) in (None, shape) else own.num_bytes for stage in left
    }
    return peak(plan.in_turn(paths), sizes, keep) + CHECKPOINT_COPIES * max(sizes.values(), default=0)


def _file_bytes(recipe: RecipeParts) -> int:
    """Size of the weights in the encoder's folder; 0 if there are none."""
    folder = Path(str(recipe.encoder)).expanduser()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def warnings(planned: Planned) -> tuple[str, ...]:
    """Notes that a person should read before trusting the numbers: counts that differ, arms and languages left out,
    substitutions, rows and tasks that are both trained and evaluated on."""
    expanded = planned.plan
    lines = [] if generator(expanded.recipe) else list(differing_counts(planned.data))
    lines += [f"arm {arm} is left out: {'; '.join(gaps)}" for arm, gaps in expanded.left_out.items()]
    lines += [f"{name}: no labelled files in {' '.join(codes)}; left out" for name, codes in expanded.absent.items()]
    read = [need for needs in expanded.needs.values() for need in needs]
    lines += [one.words() for one in concerning(expanded.recipe.substitutions, read)]
    lines += said_of_rows(planned.store)
    beside = [path for path in planned.identities if setting_in(path)]
    if beside:
        many = f"{len(beside):,} stages are stored" if len(beside) > 1 else "1 stage is stored"
        lines.append(f"{many} next to the same ones with other settings, such as {beside[0]}")
    leaks = [f"stops a run without --allow-overlap: {line}" for line in said(planned.leaks)]
    return tuple(f"note: {line}" for line in (*leaks, *lines, *remarks(planned)))


def remarks(planned: Planned) -> tuple[str, ...]:
    """Remarks in words: rows and tasks that are both trained and evaluated on (except those that stop a run), what is
    chosen on rows that are scored, what the encoder has seen before, what its tokenizer does not know, and code that
    is not run."""
    told = (*planned.leaks, *planned.choices)
    others = said(one for one in planned.overlaps if one not in told)
    recipe, catalogue = planned.plan.recipe, planned.census.data.folder.catalogue
    past = history(recipe, catalogue)
    seen = (*(said_of_history(recipe, past) if generator(recipe) is None else ()), *said_of_arms(recipe, past))
    unknown = () if planned.unknown is None else planned.unknown.remark()
    arms = ((arm.encoder, arm.revision) for arm in recipe.intermediates if arm.encoder is not None)
    code = [line for start in ((recipe.encoder, recipe.revision), *arms) for line in said_of_code(*start)]
    return (*unknown, *code, *seen, *repeated(recipe, planned.census), *said_of_choices(planned.choices), *others)


def require_space(planned: Planned, keep: str) -> None:
    """Raise StoreError if the store's disk has less free space than the remaining stages need (approximately)."""
    free, need = free_bytes(planned.store.root), planned.need_bytes(keep)
    if need is not None and need > free:
        raise StoreError(
            f"the disk of {planned.store.root} has {free / 1e9:.1f} GB free,"
            f" and the stages to do need about {need / 1e9:.1f} GB",
            fix="make room, name a --store on another disk, or drop models with --keep needed",
        )
