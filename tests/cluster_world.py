"""A Ray cluster on one machine whose workers have the cards and stages of `small_world`, or are broken in some way."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import small_world

from viaduct.errors import DataError
from viaduct.interruption import handlers_kept
from viaduct.runs import nodes
from viaduct.runs.stage import Context, Spent, kind_of

HOOK = "cluster_world.install"
"""Setup hook that is called in every worker."""
STORE_BYTES = 80 * 1024 * 1024


def install() -> None:
    """Set up a worker as `small_world.main` does; its environment says how slow it is and what its node lacks."""
    small_world.PAUSE = float(os.environ.get("SMALL_WORLD_PAUSE", "0"))
    small_world.add_cards(setattr, small_world.CARDS)
    for kind in small_world.FAKES:
        kind_of(kind).run = _run  # type: ignore[method-assign]
    lacks = os.environ.get("NODE_LACKS")
    if lacks == "versions":
        found = {**nodes.versions(), "viaduct": "0.0.9"}
        nodes.versions = lambda: found  # type: ignore[attr-defined]
    elif lacks == "store":
        nodes.SEEN_SECONDS = 0.0
        nodes.MARK = "elsewhere"
    elif lacks == "writing":
        Path.write_text = _refuse  # type: ignore[method-assign,assignment]


def _refuse(*_given: object, **_options: object) -> int:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _run(context: Context, _work: object) -> Spent:
    if (wrong := os.environ.get("SMALL_WORLD_WRONG")) and wrong in str(context.directory):
        with Path(os.environ["SMALL_WORLD_LOG"]).open("a") as file:
            file.write(f"{wrong}\n")
        raise DataError("a row without a label", fix="label it")
    return small_world.run(context)


@contextlib.contextmanager
def cluster(**environment: str) -> Iterator[Any]:
    """A cluster whose head has no CPUs and runs the driver; see `add_node`. All nodes get the environment."""
    from ray.cluster_utils import Cluster

    paths = f"{Path(__file__).parent}{os.pathsep}{Path(nodes.__file__).parents[2]}"
    kept = {name: os.environ.get(name) for name in (*environment, "PYTHONPATH")}
    os.environ.update(environment, PYTHONPATH=paths, RAY_DISABLE_IMPORT_WARNING="1")
    found = Cluster()
    try:
        found.add_node(num_cpus=0, object_store_memory=STORE_BYTES)
        yield found
    finally:
        found.shutdown()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def add_node(found: Any, **environment: str) -> Any:
    """Add a node with one CPU."""
    return found.add_node(num_cpus=1, object_store_memory=STORE_BYTES, env_vars=environment)


@contextlib.contextmanager
def connection(found: Any) -> Iterator[Any]:
    """Connect this process as a driver whose workers are set up by `install`."""
    import ray

    hook = {"worker_process_setup_hook": HOOK}
    with handlers_kept():
        ray.init(address=found.address, log_to_driver=False, logging_level="ERROR", runtime_env=hook)
    try:
        yield ray
    finally:
        ray.shutdown()


def main() -> None:
    """Run a recipe as a driver: `cluster_world.py ADDRESS RECIPE DATA STORE`; Ctrl-C ends it like a command."""
    from rich.console import Console

    from viaduct import api
    from viaduct.interruption import exit_status, stopping
    from viaduct.report import page
    from viaduct.runs.execute import Options
    from viaduct.runs.spec import Recipe

    address, recipe, data, store = sys.argv[1:]
    install()
    page.write = small_world.write_no_report
    asked = Recipe.model_validate_json(Path(recipe).read_text(encoding="utf-8"))
    options = Options(device="cpu", threads=1, executor="ray", poll_seconds=0.2)
    console = Console(stderr=True, force_terminal=False)
    try:
        with stopping(), connection(SimpleNamespace(address=address)):
            api.run(asked, data=Path(data), store=Path(store), options=options, console=console, command="test")
    except KeyboardInterrupt as stopped:
        sys.exit(exit_status(stopped))


if __name__ == "__main__":
    main()
