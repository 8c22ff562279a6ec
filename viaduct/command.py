"""What commands share: how a room brings one, the options that several have, and a table in plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from viaduct.errors import UsageError
from viaduct.paths import default_data


@dataclass(frozen=True)
class Command:
    """A verb of the command line: a function with Typer's annotations, whose docstring is its help. Its module imports
    what is heavy inside the function, so that `viaduct --help` stays quick."""

    name: str
    function: Callable[..., None]


Data = Annotated[Path | None, typer.Option("--data", help="Folder of the data sets [VIADUCT_DATA, ./data].")]
ModelFolder = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A `train` folder of the store, or an encoder's folder.")
]


def data_folder(given: Path | None) -> Path:
    """The folder that was given, or the default one. Raises UsageError where it does not exist."""
    data = given or default_data()
    if not data.is_dir():
        raise UsageError(f"the data folder {data} does not exist", fix="name it with --data or set VIADUCT_DATA")
    return data


def data_if_any(given: Path | None) -> Path | None:
    """As `data_folder`; None when none was given and the default one does not exist."""
    return None if given is None and not default_data().is_dir() else data_folder(given)


def given_seeds(text: str | None) -> tuple[int, ...] | None:
    """The seeds of `--seeds`. Raises UsageError for what are no whole numbers."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds {text}: not whole numbers", fix="--seeds 1,2,3") from error


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Aligned columns under a header, which is left out where all its names are ""; the columns in `right` are aligned
    to the right."""
    every = [*([header] if any(header) else []), *lines]
    widths = [max(len(line[column]) for line in every) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in every
    )
