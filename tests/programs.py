"""Runs programs as a shell would, but in the test's own process: a new one takes seconds to load torch."""

from __future__ import annotations

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """How a program ended, and what it printed."""

    status: int
    output: str
    errors: str


def run_script(path: Path, *options: str) -> Done:
    """Run `python PATH OPTIONS`; modules that it loads stay loaded."""
    return _run(str(path), options, path.parent)


def viaduct(*arguments: str) -> Done:
    """Run `viaduct ARGUMENTS`."""
    return _run("viaduct", arguments, None)


def _run(program: str, arguments: tuple[str, ...], folder: Path | None) -> Done:
    kept, status = (sys.argv, sys.path), 0
    sys.argv, sys.path = [program, *arguments], [*([] if folder is None else [str(folder)]), *sys.path]
    output, errors = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            if folder is None:
                runpy.run_module(program, run_name="__main__")
            else:
                runpy.run_path(program, run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):  # Python prints such a string and exits with 1
            errors.write(stop.code)
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv, sys.path = kept
    return Done(status, output.getvalue(), errors.getvalue())
