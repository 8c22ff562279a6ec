"""What commands share: how a room brings one, the options that several have, how they end, and what they print."""

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
"""Exit statuses, as docs/command_line.md has them: of what was looked at something is not in order (and was printed);
what was asked could not be done; Viaduct's own fault."""


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
StoreFolder = Annotated[Path | None, typer.Option("--store", help="Folder of the results [VIADUCT_STORE, ./store].")]
Rows = Annotated[Path | None, typer.Option("--rows", help="Folder of committed rows [VIADUCT_ROWS, ./results].")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe.")]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="1,2,3", help="Seeds instead of the recipe's.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Read N rows of a language at most: a quick look, no result."),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of a process [measured].")]
Processes = Annotated[int, typer.Option("--processes", min=1, help="Processes that share the work and the cores.")]
Memory = Annotated[
    float, typer.Option("--memory-gb", min=0.01, help="What the search for nearest sentences may hold at most.")
]
MicroBatchTokens = Annotated[
    int | None,
    typer.Option(
        "--micro-batch-tokens",
        min=1,
        help="Compute batches of a training in parts of about so many tokens, with the same result [what fits].",
    ),
]
Devices = Annotated[
    int,
    typer.Option("--devices", min=1, help="GPUs, or cores of the CPU, that share each batch of a training."),
]
GradientCheckpointing = Annotated[
    bool,
    typer.Option("--gradient-checkpointing", help="Train in less memory and a third more time, with the same result."),
]
AllowOverlap = Annotated[
    bool,
    typer.Option("--allow-overlap", help="Run even if rows that are trained on are evaluated; the report says so."),
]
Fetch = Annotated[bool, typer.Option("--fetch", help="First download what is not there, as `viaduct fetch` does.")]
Mirror = Annotated[
    list[str] | None,
    typer.Option(metavar="BASE|HOST=BASE", help="Where publishers' files are instead: BASE/HOST/... [VIADUCT_MIRROR]."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Agree to the licences that are shown before a download.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as one JSON document (docs/command_line.md).")]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,...", help="Tell the curves of trainings to: tensorboard, wandb, trackio, mlflow, ..."),
]
CheckpointSeconds = Annotated[float, typer.Option("--checkpoint-seconds", min=0.0, hidden=True)]


def choice(what: str, *known: str, help: str) -> Any:
    """An option of which one of these words is given. Its value raises UsageError for others."""

    def parsed(given: str) -> str:
        if given not in known:
            raise unknown(what, given, known)
        return given

    return typer.Option(parser=parsed, autocompletion=lambda: [*known], metavar="|".join(known), help=help)


Executor = Annotated[
    Literal["local", "ray"],
    choice("--executor", "local", "ray", help="Where stages run: here, or on a Ray cluster's nodes (docs/scaling.md)."),
]
Keep = Annotated[
    Literal["all", "needed", "scores"],
    choice(
        "--keep",
        "all",
        "needed",
        "scores",
        help="What stays in the store: all; no models that nothing needs; no predictions, either.",
    ),
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster's head [of which this machine is a node].")
]


def data_folder(given: Path | None) -> Path:
    """The folder that was given, or the default one. Raises UsageError where it is none."""
    data = given or default_data()
    if not data.is_dir():
        raise UsageError(f"the data folder {data} {absence(data)}", fix="name it with --data or set VIADUCT_DATA")
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


def changes(set: Sequence[str] | None, limit: int | None) -> list[str]:
    """What `--set` and `--limit` change in a recipe."""
    return [*(set or ()), *([] if limit is None else [f"limit={limit}"])]


def pair(text: str) -> tuple[str, str]:
    """The two arms of `--compare`. Raises UsageError for what is not ARM:ARM."""
    first, colon, second = text.partition(":")
    if not colon:
        raise UsageError(f"--compare {text}: not two arms", fix="--compare mnli+replay:mnli")
    return first, second


def as_json(**document: object) -> str:
    """Records and plain values as one document in ASCII; None, and what is no finite number, are null."""
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(document, inf_nan_mode="null"), indent=1, allow_nan=False)


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
