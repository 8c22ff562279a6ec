"""The commits of a recipe's models: those that it names, else those that the names point to on the Hub today."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.hub import COMMIT, commit_of, unreachable
from viaduct.runs.encoder import may_be_on_hub
from viaduct.runs.spec import Recipe

ENCODER = "encoder"
"""The field whose revision is in the field `revision`."""

Say = Callable[[str], object]
"""Reports one line of text."""


def to_stderr(line: str) -> None:
    """Write one line to stderr, separate from the command's output."""
    sys.stderr.write(f"{line}\n")


class Model(NamedTuple):
    """A model that a recipe names."""

    name: str
    revision: str | None
    is_encoder: bool


def is_hub_name(name: str) -> bool:
    """Whether this looks like the name of a model on the Hub and is not an existing folder."""
    return may_be_on_hub(name) and not Path(name).expanduser().is_dir()


def models_of(recipe: Recipe) -> list[Model]:
    """The Hub models that a recipe names, the encoder first: every field `encoder` next to a `revision`, and every
    field `x` next to an `x_revision`."""
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
    """(field that names a Hub model, field that holds its revision)."""
    for owner, name in node.items():
        field = "revision" if owner == ENCODER else f"{owner}_revision"
        if field in node and isinstance(name, str) and is_hub_name(name) and (owner == ENCODER or "/" in name):
            yield owner, field


def with_commits(recipe: Recipe, commits: Mapping[tuple[str, str | None], str]) -> Recipe:
    """The recipe with its models' revisions replaced by commits; `commits`: (name, revision) -> commit."""

    def pinned(node: Any) -> Any:
        if isinstance(node, Mapping):
            own = {field: commits.get((node[owner], node[field]), node[field]) for owner, field in _owners(node)}
            return {name: pinned(one) for name, one in node.items()} | own
        return [pinned(one) for one in node] if isinstance(node, list | tuple) else node

    return Recipe.model_validate(pinned(recipe.model_dump()))


def resolved(recipe: Recipe, say: Say = to_stderr) -> Recipe:
    """The recipe with the commits that its models' names, branches and tags point to now; each is reported. Unchanged
    if the Hub cannot be reached: whatever needs a revision then says so."""
    moving = [one for one in models_of(recipe) if not (one.revision and COMMIT.fullmatch(one.revision))]
    if not moving or unreachable():
        return recipe
    commits = {(one.name, one.revision): commit_now(one.name, one.revision, say) for one in moving}
    return with_commits(recipe, commits)


def commit_now(name: str, revision: str | None, say: Say = to_stderr) -> str:
    """The commit that a name with this revision (None: its main branch) points to now; it is also reported.

    Raises UsageError if the Hub gives no commit.
    """
    commit = commit_of(name, revision)
    at = "" if revision is None else f" at {revision}"
    say(f"{name}{at} is commit {commit} now: with that as its revision the numbers can be reproduced")
    return commit


def pinned(encoder: str, revision: str | None) -> str | None:
    """The revision of an encoder; for a Hub name, resolved to its present commit. Unchanged for a folder or offline."""
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    return commit_now(encoder, revision, to_stderr) if is_hub_name(encoder) and not unreachable() else revision
