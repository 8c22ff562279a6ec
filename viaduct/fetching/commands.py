"""The command `fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from viaduct.command import Command, Data, Mirror, Yes
from viaduct.errors import unknown
from viaduct.paths import default_data


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(metavar="xtreme|TASK...|RECIPE", help="A recipe: everything it reads, models included."),
    ],
    data: Data = None,
    languages: Annotated[str | None, typer.Option(metavar="de,sw,...", help="Only these (and English).")] = None,
    mirror: Mirror = None,
    yes: Yes = False,
) -> None:
    """Download data sets and models. Checks them against what was published; exits with status 2 if any is missing."""
    from viaduct.fetching import arriving
    from viaduct.languages import language
    from viaduct.paths import default_mirrors
    from viaduct.runs.recipes import load_recipe, shipped
    from viaduct.tasks.catalogue import Catalogue

    codes = None if languages is None else tuple(language(one.strip()).code for one in languages.split(","))
    consent = arriving.Consent(data or default_data(), tuple(mirror or default_mirrors()), yes)
    known = [card.name for card in Catalogue.builtin()] + ["xtreme"]
    if len(names) == 1 and names[0] not in known:
        recipes = [one.name for one in shipped()]
        if names[0] not in recipes and not names[0].endswith((".py", ".yaml", ".yml")):
            raise unknown("task or recipe", names[0], [*known, *recipes])
        recipe, arrivals, lacks = arriving.fetch_recipe(load_recipe(names[0]), codes, consent)
        typer.echo(arriving.told(arrivals))
        arriving.require_runnable(recipe, lacks)
    else:
        for name in names:
            if name not in known:
                raise unknown("task", name, known)
        arrivals = arriving.fetch_tasks(names, codes, consent)
        typer.echo(arriving.told(arrivals))
        arriving.require_arrived(arrivals)


FETCH = Command("fetch", fetch)
