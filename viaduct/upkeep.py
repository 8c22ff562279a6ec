"""Commands that run nothing: they list recipes, and look after a store and its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from viaduct.command import DISORDER, Data, Json, Rows, RunName, StoreFolder, as_json, choice


def recipes(
    fields: Annotated[bool, typer.Option("--fields", help="Instead: every field that a recipe may have.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Instead: the JSON Schema of recipes, for editors.")] = False,
) -> None:
    """List the recipes that come with Viaduct: what each asks, what was expected before its run, what it costs."""
    if fields or schema:
        from viaduct.runs.reference import reference, schema_text

        typer.echo(reference() if fields else schema_text())
        return
    from viaduct.runs.recipes import shipped

    for one in shipped():
        typer.echo(f"{one.name}: {one.question}\n    hypothesis: {one.hypothesis}\n    cost: {one.cost}\n")


def rows(run: RunName, store: StoreFolder = None, rows: Rows = None) -> None:
    """Add what is done of a run to the committed rows, from which its report can be made without the store."""
    from viaduct import api

    folder, added = api.add_rows(run, store=store, rows=rows)
    if added.without:
        typer.echo(f"note: {added.without:,} scores have no outcomes by example: `viaduct report` makes them", err=True)
    others = f", and {added.foreign:,} of other settings, seeds or data" if added.foreign else ""
    typer.echo(f"rows: {folder} ({added.scores:,} scores added to {added.before:,}{others})")


def verify(
    folder: Annotated[Path | None, typer.Argument(metavar="STORE", help="The same as --store.")] = None,
    store: StoreFolder = None,
) -> None:
    """Read a store's files and compare them with their checksums. Status 1 where one is damaged."""
    from viaduct import api, tables

    found = api.verify(folder or store)
    typer.echo(tables.verified(found))
    if found.damaged:
        raise typer.Exit(DISORDER)


def clean(
    run: RunName,
    keep: Annotated[
        Literal["needed", "scores"],
        choice("--keep", "needed", "scores", help="What stays: models that the run still needs; scores alone."),
    ] = "needed",
    data: Data = None,
    store: StoreFolder = None,
) -> None:
    """Remove models that a run needs no more; with `--keep scores`, predictions that are scored, too."""
    from viaduct import api

    freed = api.clean(run, keep=keep, data=data, store=store)
    typer.echo(f"removed: {freed / 1e9:,.2f} GB")


def doctor(
    store: StoreFolder = None,
    online: Annotated[bool, typer.Option("--online", help="Also see whether the Hugging Face Hub answers.")] = False,
    json: Json = False,
) -> None:
    """Show what this machine has, and what is broken and how to put it right. Status 1 where something is."""
    from viaduct import api, tables

    findings = api.doctor(store=store, online=online)
    typer.echo(as_json(findings=findings) if json else tables.findings(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(DISORDER)
