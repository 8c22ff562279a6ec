"""Fetches everything that some tasks or a recipe need in one go: asks for consent first, checks the data at the end."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from viaduct.errors import DataError, UsageError, shortened
from viaduct.fetching.download import Progress as OnProgress
from viaduct.fetching.fetch import Arrival, Errand, licences, whole_tasks
from viaduct.fetching.hub_files import fetch_model, licence_of
from viaduct.fetching.reading import looked_for
from viaduct.languages import ENGLISH
from viaduct.paths import default_data, default_mirrors, default_store, planning_cache
from viaduct.runs.encoder import cached_file, is_tower
from viaduct.runs.encoder_check import require_folder
from viaduct.runs.encoder_files import weights_file
from viaduct.runs.gaps import listed
from viaduct.runs.revisions import Model, models_of, resolved
from viaduct.runs.spec import Recipe
from viaduct.tasks.catalogue import Catalogue

AGAIN = "follow the advice for each above and run the same command again: what has arrived is kept"


LONGEST_REASON = 600
"""Maximum number of characters of the reason reported for one split."""


@dataclass
class Consent:
    """How the user is informed and asked for consent, and where files come from and go to."""

    data: Path = field(default_factory=default_data)
    mirrors: Sequence[str] = ()
    yes: bool = False
    """Do not ask for confirmation."""
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def ask(self, licences: Collection[str]) -> None:
        """Show the licences of what is about to be fetched. Raises UsageError unless the person agrees."""
        for line in licences:
            self.say(line)
        if not licences or self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("nothing is fetched until somebody agrees to the licences above", fix="pass --yes")
        if self.console.input("Fetch these under their licences? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UsageError("nothing was fetched", fix="answer y, or pass --yes")
        self.yes = True

    @contextmanager
    def bar(self) -> Iterator[OnProgress]:
        """A progress bar, shared by all files one after another."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True) as shown:
            task = shown.add_task("fetching", total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total)


def fetch_tasks(names: Sequence[str], languages: Sequence[str] | None, consent: Consent) -> list[Arrival]:
    """Fetch whole tasks, see `fetch.whole_tasks`."""
    catalogue = Catalogue.builtin()
    wanted = whole_tasks(names, languages, catalogue)
    if not wanted:
        given, asked = " ".join(names), ", ".join(languages or ())
        raise UsageError(f"{given} has none of the languages {asked}", fix=f"`viaduct tasks {names[0]}` lists them")
    return _fetch(Errand(wanted, consent.data, catalogue, _memory(), consent.mirrors), (), consent)


def fetch_recipe(
    recipe: Recipe, languages: Sequence[str] | None, consent: Consent
) -> tuple[Recipe, list[Arrival], tuple[str, ...]]:
    """(the recipe with the commits of its models, the state of each split that it may read, the missing data that it
    cannot be run without). Arms that will be left out are reported.

    Raises UsageError for a model that the Hub does not provide, or that is incomplete.
    """
    consent.data.mkdir(parents=True, exist_ok=True)
    recipe = resolved(recipe, consent.say)
    catalogue = Catalogue.builtin().with_files(recipe.cards)
    arrivals: dict[tuple[str, str, str], Arrival] = {}
    models = models_of(recipe)
    if recipe.encoders:  # all of them read the same data
        recipe = recipe.model_copy(update={**dict(recipe.encoders[0]), "encoders": ()})
    while True:
        asked, plan = looked_for(recipe, consent.data, _memory())
        errand = Errand(_in(asked, languages), consent.data, catalogue, _memory(), consent.mirrors)
        new = [one for one in errand.wanted if one not in arrivals]
        if not new and not models:
            for arm, reasons in plan.left_out.items():
                consent.say(f"arm {arm} will be left out: {'; '.join(reasons)}")
            return recipe, list(arrivals.values()), listed(plan.missing)
        arrivals |= {(one.task, one.split, one.language): one for one in _fetch(errand, models, consent)}
        models = []


def arrived(recipe: Recipe, data: Path | None, *, yes: bool) -> Recipe:
    """The recipe with the commits of its models, after fetching as much as possible of the data that it may read."""
    consent = Consent(data or default_data(), default_mirrors(), yes)
    recipe, arrivals, _ = fetch_recipe(recipe, None, consent)
    consent.say(told(arrivals))
    return recipe


def _in(needs: Iterable[tuple[str, str, str]], languages: Sequence[str] | None) -> list[tuple[str, str, str]]:
    return [need for need in needs if languages is None or need[2] in (*languages, ENGLISH)]


def _memory() -> Path | None:
    cache = planning_cache(default_store())
    return cache and cache / "census.json"


def _fetch(errand: Errand, models: Sequence[Model], consent: Consent) -> list[Arrival]:
    commits = {one: str(one.revision) for one in models}
    new = [one for one in models if not _is_cached(one.name, commits[one])]
    said = [f"{one.name}: licence: {licence_of(one.name, commits[one])}" for one in new]
    consent.ask([*said, *licences(errand)])
    for one, commit in commits.items():
        folder = fetch_model(one.name, commit)
        if one.is_encoder and not is_tower(folder):
            require_folder(folder)
        consent.say(f"{one.name} at {commit}: {folder}")
    with consent.bar() as progress:
        return errand.run(progress)


def _is_cached(name: str, commit: str) -> bool:
    """Whether a model's weights are in the Hub's local cache."""
    config = cached_file(name, commit, "config.json")
    return config is not None and weights_file(config.parent) is not None


def told(arrivals: Sequence[Arrival]) -> str:
    """One line per split of each task with its number of languages and rows, and one for what is missing, and why."""
    groups: dict[tuple[str, str], list[Arrival]] = {}
    for one in arrivals:
        groups.setdefault((one.task, one.split), []).append(one)
    return "\n".join(line for name, group in groups.items() for line in _lines(" ".join(name), group))


def _lines(name: str, group: Sequence[Arrival]) -> Iterable[str]:
    here = [one for one in group if one.rows is not None]
    if here:
        rows, fetched = sum(one.rows or 0 for one in here), sum(one.state == "fetched" for one in here)
        checked = sum(one.published is not None for one in here)
        how = f"{fetched} fetched now" if fetched else "there before"
        yield f"{name}: {rows:,} rows in {len(here)} languages, {how}; the published count holds in {checked}"
    missing = [one for one in group if one.state == "missing"]
    if missing:
        alike = "" if len({one.why for one in missing}) == 1 else f" (for {missing[0].language}; others similar)"
        codes = " ".join(one.language for one in missing)
        yield f"{name}: missing in {codes}: {shortened(missing[0].why, LONGEST_REASON)}{alike}"


def require_arrived(arrivals: Sequence[Arrival]) -> None:
    """Raise DataError if anything is missing."""
    missing = sum(one.state == "missing" for one in arrivals)
    if missing:
        raise DataError(f"{missing:,} of {len(arrivals):,} splits could not be fetched (listed above)", fix=AGAIN)


def require_runnable(recipe: Recipe, lacks: Sequence[str]) -> None:
    """Raise DataError if a recipe lacks something that it cannot be run without."""
    if lacks:
        said = "".join(f"\n  - {line}" for line in lacks)
        raise DataError(f"recipe {recipe.name} cannot be run yet, it lacks:{said}", fix=AGAIN)
