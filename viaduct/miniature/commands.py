"""The command `miniature`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viaduct.command import Command
from viaduct.errors import one_message


def miniature(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create; pass it as --data later.")],
    seed: Annotated[int, typer.Option(help="Seed of the generated world.")] = 1,
    scale: Annotated[float, typer.Option(help="Multiplies all sizes; 0.05 for a quick test.")] = 1.0,
) -> None:
    """Generate a small world with every task. Files have the official formats; a smoke test, never evidence."""
    from rich.console import Console

    from viaduct.miniature import world
    from viaduct.runs.display import shown

    with one_message(directory), shown(Console(stderr=True), {"miniature": 1.0}) as display:
        display.start("miniature", resumed=False)
        manifest = world.write(directory, seed=seed, scale=scale, progress=display.progress)
        display.done("miniature")
    size = f"{len(manifest.rows):,} files, {manifest.num_bytes / 1e6:.1f} MB, {len(manifest.languages)} languages"
    typer.echo(f"miniature world: {directory} ({size})")


MINIATURE = Command("miniature", miniature)
