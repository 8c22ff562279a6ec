"""Commands that run nothing: they list recipes and look after a store and its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from viaduct.command import DISORDER, Data, Json, Rows, RunName, StoreFolder, as_json, choice


def recipes(
    fields: Annotated[bool, typer.Option("--fields", help="List every field of a recipe instead.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipes, for editors, instead.")
    ] = False,
) -> None:
    """List the recipes that come with Viaduct. Shows the question, the hypothesis stated before the run, the cost."""
    if fields or schema:
        from viaduct.runs.reference import reference, schema_text

        typer.echo(reference() if fields else schema_text())
        return
    from viaduct.runs.recipes import shipped

    for one in shipped():
        typer.echo(f"{one.name}: {one.question}\n    hypothesis: {one.hypothesis}\n    cost: {one.cost}\n")


def rows(run: RunName, store: StoreFolder = None, rows: Rows = None) -> None:
    """Add a run's finished results to the committed rows. Its report can then be made without the store."""
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
    """Check a store's files against their checksums. Exits with status 1 if one is damaged."""
    from viaduct import api, tables

    found = api.verify(folder or store)
    typer.echo(tables.verified(found))
    if found.damaged:
        raise typer.Exit(DISORDER)


def clean(
    run: RunName,
    keep: Annotated[
        Literal["needed", "scores"],
        choice("--keep", "needed", "scores", help="What to keep: models that the run still needs, or scores only."),
    ] = "needed",
    data: Data = None,
    store: StoreFolder = None,
) -> None:
    """Remove models that a run no longer needs. With `--keep scores`, also removes predictions that are scored."""
    from viaduct import api

    freed = api.clean(run, keep=keep, data=data, store=store)
    typer.echo(f"removed: {freed / 1e9:,.2f} GB")


def doctor(
    store: StoreFolder = None,
    online: Annotated[
        bool, typer.Option("--online", help="Also check that the Hugging Face Hub can be reached.")
    ] = False,
    json: Json = False,
) -> None:
    """Check versions, devices and disk. Says how to fix what is broken; exits with status 1 if something is broken."""
    from viaduct import api, tables

    findings = api.doctor(store=store, online=online)
    typer.echo(as_json(findings=findings) if json else tables.findings(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(DISORDER)
