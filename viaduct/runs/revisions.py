"""Which commits a recipe's models are: those it names, else those that its names mean on the Hub today."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.hub import COMMIT, commit_of, unreachable
from viaduct.runs.encoder import may_be_on_hub
from viaduct.runs.spec import Recipe

ENCODER = "encoder"
"""The field whose revision is the field `revision`."""

Say = Callable[[str], object]
"""Tells a line."""


def to_stderr(line: str) -> None:
    """One line beside what a command prints."""
    sys.stderr.write(f"{line}\n")


class Model(NamedTuple):
    """A model that a recipe names."""

    name: str
    revision: str | None
    is_encoder: bool


def is_hub_name(name: str) -> bool:
    """Whether this names a model of the Hub, as far as its form tells, and no folder that is here."""
    return may_be_on_hub(name) and not Path(name).expanduser().is_dir()


def models_of(recipe: Recipe) -> list[Model]:
    """The models of the Hub that a recipe names, the encoder first: every field `encoder` beside a `revision`, and
    every field `x` beside an `x_revision`."""
    return list(dict.fromkeys(_models_in(recipe.model_dump())))


def _models_in(node: object) -> Iterator[Model]:
    if isinstance(node, Mapping):
        for owner, field in _owners(node):
            yield Model(node[owner], node[field], owner == ENCODER)
    for one in _inside(node):
        yield from _models_in(one)


def _inside(node: object) -> Iterable[object]:
    return node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()


def _owners(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field that names a model of the Hub, field that has its revision)."""
    for owner, name in node.items():
        field = "revision" if owner == ENCODER else f"{owner}_revision"
        if field in node and isinstance(name, str) and is_hub_name(name) and (owner == ENCODER or "/" in name):
            yield owner, field


def with_commits(recipe: Recipe, commits: Mapping[tuple[str, str | None], str]) -> Recipe:
    """The recipe with commits in place of the revisions of its models; (name, revision) -> commit."""

    def pinned(node: Any) -> Any:
        if isinstance(node, Mapping):
            own = {field: commits.get((node[owner], node[field]), node[field]) for owner, field in _owners(node)}
            return {name: pinned(one) for name, one in node.items()} | own
        return [pinned(one) for one in node] if isinstance(node, list | tuple) else node

    return Recipe.model_validate(pinned(recipe.model_dump()))


def resolved(recipe: Recipe, say: Say = to_stderr) -> Recipe:
    """The recipe with the commits that its models' names, branches and tags mean now; each is told. As it is where no
    network leads to the Hub: what needs a revision says so."""
    moving = [one for one in models_of(recipe) if not (one.revision and COMMIT.fullmatch(one.revision))]
    if not moving or unreachable():
        return recipe
    commits = {(one.name, one.revision): commit_now(one.name, one.revision, say) for one in moving}
    return with_commits(recipe, commits)


def commit_now(name: str, revision: str | None, say: Say = to_stderr) -> str:
    """The commit that a name with this revision (None: its main branch) means now, which is told.

    Raises UsageError where the Hub does not say.
    """
    commit = commit_of(name, revision)
    at = "" if revision is None else f" at {revision}"
    say(f"{name}{at} is commit {commit} now: with that as its revision the numbers can be repeated")
    return commit


def pinned(encoder: str, revision: str | None) -> str | None:
    """The revision of an encoder: the commit that a Hub name means now where it has none; None for a folder."""
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    return commit_now(encoder, revision, to_stderr) if is_hub_name(encoder) and not unreachable() else revision
