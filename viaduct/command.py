"""What the commands share: how a room adds one, options that several have, exit statuses, and output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from viaduct.errors import UsageError, absence, unknown
from viaduct.paths import default_data

DISORDER, MISTAKE, BUG = 1, 2, 70
"""Exit statuses, as in docs/command_line.md: something that was examined is not in order (and was printed); the
request could not be carried out; a bug in Viaduct."""


@dataclass(frozen=True)
class Command:
    """A command-line verb: a function with Typer's annotations, whose docstring is its help. Its module does heavy
    imports inside the function, so that `viaduct --help` stays quick."""

    name: str
    function: Callable[..., None]


Data = Annotated[Path | None, typer.Option("--data", help="Folder with the data sets [VIADUCT_DATA, ./data].")]
ModelFolder = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A `train` folder of the store, or an encoder's folder.")
]

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...", help="A `train` folder of the store, an encoder's folder, or owner/name@commit."
    ),
]


RecipeFile = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe: its name (`viaduct recipes`), or a Python or YAML file.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or a recipe's name in the store.")]
StoreFolder = Annotated[Path | None, typer.Option("--store", help="Folder for results [VIADUCT_STORE, ./store].")]
Rows = Annotated[Path | None, typer.Option("--rows", help="Folder of committed rows [VIADUCT_ROWS, ./results].")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe.")]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="1,2,3", help="Seeds instead of the recipe's.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Read at most N rows per language: a quick look, not a result."),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads per process [measured].")]
Processes = Annotated[int, typer.Option("--processes", min=1, help="Processes to share the work and the cores.")]
Memory = Annotated[float, typer.Option("--memory-gb", min=0.01, help="Memory limit of the nearest-neighbour search.")]
MicroBatchTokens = Annotated[
    int | None,
    typer.Option(
        "--micro-batch-tokens",
        min=1,
        help="Split training batches into parts of about this many tokens; same result [what fits].",
    ),
]
Devices = Annotated[
    int,
    typer.Option("--devices", min=1, help="GPUs, or CPU cores, that share each training batch."),
]
GradientCheckpointing = Annotated[
    bool,
    typer.Option("--gradient-checkpointing", help="Train with less memory in a third more time; same result."),
]
AllowOverlap = Annotated[
    bool,
    typer.Option("--allow-overlap", help="Run even if training rows are also evaluated on; the report says so."),
]
Fetch = Annotated[bool, typer.Option("--fetch", help="First download missing data, like `viaduct fetch`.")]
Mirror = Annotated[
    list[str] | None,
    typer.Option(metavar="BASE|HOST=BASE", help="Mirror of the publishers' files: BASE/HOST/... [VIADUCT_MIRROR]."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Accept the licences shown before a download.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/command_line.md).")]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,...", help="Send training curves to tensorboard, wandb, trackio, mlflow, ..."),
]
CheckpointSeconds = Annotated[float, typer.Option("--checkpoint-seconds", min=0.0, hidden=True)]


def choice(what: str, *known: str, help: str) -> Any:
    """An option that takes one of these words; any other value raises UsageError."""

    def parsed(given: str) -> str:
        if given not in known:
            raise unknown(what, given, known)
        return given

    return typer.Option(parser=parsed, autocompletion=lambda: [*known], metavar="|".join(known), help=help)


Executor = Annotated[
    Literal["local", "ray"],
    choice("--executor", "local", "ray", help="Run stages here, or on the nodes of a Ray cluster (docs/scaling.md)."),
]
Keep = Annotated[
    Literal["all", "needed", "scores"],
    choice(
        "--keep",
        "all",
        "needed",
        "scores",
        help="What stays in the store: everything, all but unneeded models, or all but those and scored predictions.",
    ),
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Address of the Ray cluster's head [this machine's cluster].")
]


def data_folder(given: Path | None) -> Path:
    """The given folder, or the default one. Raises UsageError if it is not a folder."""
    data = given or default_data()
    if not data.is_dir():
        raise UsageError(f"the data folder {data} {absence(data)}", fix="name it with --data or set VIADUCT_DATA")
    return data


def data_if_any(given: Path | None) -> Path | None:
    """Like `data_folder`, but None if no folder is given and the default one does not exist."""
    return None if given is None and not default_data().is_dir() else data_folder(given)


def given_seeds(text: str | None) -> tuple[int, ...] | None:
    """The seeds in `--seeds`. Raises UsageError unless they are integers."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds {text}: not whole numbers", fix="--seeds 1,2,3") from error


def changes(set: Sequence[str] | None, limit: int | None) -> list[str]:
    """The changes that `--set` and `--limit` make to a recipe."""
    return [*(set or ()), *([] if limit is None else [f"limit={limit}"])]


def pair(text: str) -> tuple[str, str]:
    """The two arms in `--compare`. Raises UsageError if the text is not ARM:ARM."""
    first, colon, second = text.partition(":")
    if not colon:
        raise UsageError(f"--compare {text}: not two arms", fix="--compare mnli+replay:mnli")
    return first, second


def as_json(**document: object) -> str:
    """Records and plain values as one JSON document in ASCII; None and non-finite numbers become null."""
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(document, inf_nan_mode="null"), indent=1, allow_nan=False)


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Aligned columns under a header, which is left out if all its names are ""; the columns in `right` are
    right-aligned."""
    every = [*([header] if any(header) else []), *lines]
    widths = [max(len(line[column]) for line in every) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in every
    )
