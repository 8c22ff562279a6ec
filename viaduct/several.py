"""Several encoders in one recipe or evaluation: a run for each, all planned before the first starts, and a joint page.
Also the comparison of two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from viaduct import api
from viaduct.errors import UsageError
from viaduct.paths import default_store, run_directory
from viaduct.report.comparison import Side, compare_runs
from viaduct.report.contrast import Contrasts
from viaduct.results.result import Result
from viaduct.runs.collect import TOLD, collect
from viaduct.runs.encoder import encoder_name
from viaduct.runs.evaluation import evaluation
from viaduct.runs.gaps import require
from viaduct.runs.identity import fingerprint_of
from viaduct.runs.outcomes import RunOutcomes
from viaduct.runs.parts import EncoderChoice
from viaduct.runs.placement import DIGITS
from viaduct.runs.ranks import launched
from viaduct.runs.recipes import apply
from viaduct.runs.spec import Recipe


def each(recipe: Recipe) -> tuple[Recipe, ...]:
    """A recipe for each encoder, named after both; the recipe itself if it has a single one. Raises UsageError for two
    encoders with the same name."""
    made = []
    for one in recipe.encoders:
        own = recipe.model_copy(update={**dict(one), "encoders": ()})
        name = f"{recipe.name}-{encoder_name(own).removesuffix(own.mark).lower()}"
        made.append(own.model_copy(update={"name": name}))
    return _distinct(made) or (recipe,)


def evaluations(models: Sequence[str], revision: str | None, changes: Sequence[str], **how: Any) -> tuple[Recipe, ...]:
    """The recipes that evaluate these models (folders, or Hub names with commits: owner/name@commit), with the changes
    from `--set` applied. Raises UsageError for two models with the same name, whose runs would be one."""
    chosen = [EncoderChoice.model_validate(model) for model in models]
    if revision is not None and len(chosen) > 1:
        raise UsageError("--revision is for one model", fix="write owner/name@commit for each")
    made = (evaluation(str(one.encoder), revision=one.revision or revision, **how) for one in chosen)
    return _distinct([apply(recipe, changes) for recipe in made])


def _distinct(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The recipes; raises UsageError if two have one name, and so would be one run."""
    names = [one.name for one in recipes]
    if doubled := [one for one in recipes if names.count(one.name) > 1]:
        same = " and ".join(str(one.encoder) for one in doubled)
        fix = "name each encoder once; of two folders with one name, rename one"
        raise UsageError(f"two encoders are called {encoder_name(doubled[0])}: {same}", fix=fix)
    return tuple(recipes)


def run(
    recipes: Sequence[Recipe], name: str | None = None, *, data: Path | None, rows: Path | None = None, **options: Any
) -> Result:
    """Run these recipes: a single one like `api.run`; several with a joint page of all their rows, called `name` (None:
    after the first recipe and the encoders of the others). All are planned, and missing data reported, before the
    first starts."""
    if len(recipes) == 1:
        return api.run(recipes[0], data=data, rows=rows, **options)
    if launched().count > 1:
        raise UsageError("a launcher starts processes for one run, and several encoders have one each", fix="name one")
    root = options.get("store") or default_store()
    for one in recipes:
        planned = api.plan(one, data=data, store=root, rows=rows)
        require(planned.plan.missing, planned.plan.recipe, planned.census)
    found = [api.run(one, data=data, rows=rows, **options).directory for one in recipes]
    others = (one.name.removeprefix("evaluate-") for one in recipes[1:])
    place = run_directory(root, name or "-".join((recipes[0].name, *others)) + recipes[0].mark)
    return Result(_write(_own(place, [one.name for one in found]), recipes[0].hypothesis, found))


def _own(place: Path, runs: Sequence[str]) -> Path:
    """The directory of a joint page: `place`, or one next to it if `place` holds a run or the page of other runs."""
    told = place / TOLD
    before = json.loads(told.read_text(encoding="utf-8"))["runs"] if told.is_file() else []
    if set(before) <= set(runs) and not (place / "run.json").is_file():
        return place
    return place.with_name(f"{place.name}@{fingerprint_of({'runs': sorted(runs)})[:DIGITS]}")


def report(run: str, *, store: Path | None, to: Path | None, **options: Any) -> Path:
    """Write the report of a run anew, or the reports of all runs behind a joint page and then that page."""
    directory = _joint(run, store)
    if directory is None:
        return api.report(run, store=store, to=to, **options)
    told = json.loads((directory / TOLD).read_text(encoding="utf-8"))
    runs = [directory.parent / name for name in told["runs"]]
    for one in runs:
        api.report(one, **options)
    return _write(to or directory, told["hypothesis"], runs) / "report.html"


def members(run: str, store: Path | None) -> list[str]:
    """The runs behind the joint page of this name; the run itself if there is no such page."""
    directory = _joint(run, store)
    if directory is None:
        return [run]
    return list(json.loads((directory / TOLD).read_text(encoding="utf-8"))["runs"])


def _joint(run: str, store: Path | None) -> Path | None:
    places = (Path(run), run_directory(store or default_store(), run))
    return next((one for one in places if (one / TOLD).is_file()), None)


def _write(directory: Path, hypothesis: str, runs: Sequence[Path]) -> Path:
    from viaduct.report import joint  # Matplotlib is slow to load
    from viaduct.results.writing import canonical, write_atomic

    joint.write(directory, directory.name, hypothesis, runs)
    told = {"runs": [one.name for one in runs], "hypothesis": hypothesis}
    write_atomic(directory / TOLD, canonical(told))
    return directory


def compare(
    first: str | Path,
    second: str | Path,
    *,
    arms: tuple[str, str] | None = None,
    store: Path | None = None,
    rows: Path | None = None,
) -> tuple[Contrasts, tuple[str, ...]]:
    """(the differences between two runs, notes), from the stages done so far. `first` and `second` as for `api.status`;
    `arms` and errors as for `report.comparison.compare_runs`."""
    found = [api.run_of(run, store, rows) for run in (first, second)]
    places = [(directory.resolve(), kept.root.resolve()) for directory, kept, _ in found]
    names = [directory.name for directory, _, _ in found]
    sides = []
    for run, name, (_, kept, record) in zip((first, second), names, found, strict=True):
        told = collect(kept, record)
        sides.append(Side(name if len(set(names)) == 2 else str(run), *told[:3], RunOutcomes(kept, record, kept.rows)))
    return compare_runs(sides[0], sides[0] if places[0] == places[1] and found[0][2] == found[1][2] else sides[1], arms)
