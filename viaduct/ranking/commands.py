"""The command `rank`, and what it prints."""

from __future__ import annotations

from typing import Annotated

import typer

from viaduct.command import Command, Data, Models, data_folder, table


def rank_command(
    models: Models,
    target: Annotated[str, typer.Option(metavar="TASK", help="The target task to improve.")],
    tasks: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Intermediate tasks [all with English rows available]."),
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="English train (or else dev) rows to use per task.")] = 500,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    data: Data = None,
) -> None:
    """Rank intermediate tasks for a target, without training.

    One model: ranks tasks by how similar their texts are to the target's. Several models, each trained on another task:
    ranks the models by LogME.
    """
    from viaduct.errors import UsageError
    from viaduct.ranking import order
    from viaduct.runs.encoder import folder_of
    from viaduct.tasks.catalogue import Catalogue
    from viaduct.tasks.folder import DataFolder

    folder = DataFolder(data_folder(data), Catalogue.builtin())
    places = {model: folder_of(model) for model in models}
    if len(models) > 1:
        if tasks is not None:
            raise UsageError("--tasks ranks tasks, but several models are ranked themselves", fix="leave one out")
        what, found = "LogME", order.by_evidence(places, target, folder, rows, threads)
    else:
        named = order.candidates(target, folder) if tasks is None else [folder.task(one) for one in tasks.split(",")]
        what, found = "likeness", order.by_likeness(order.Look(places[models[0]], threads), target, named, folder, rows)
    lines = [(one.name, f"{one.rows:,} {one.split}", f"{one.value:.4f}") for one in found]
    typer.echo(table((f"for {target}", "rows", what), lines, frozenset({1, 2})))
    typer.echo(
        "\na first look, best first, not a result: in the generated world it chose no better than chance (docs/log.md)"
    )


RANK = Command("rank", rank_command)
