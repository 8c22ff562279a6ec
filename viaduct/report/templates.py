"""The Jinja environment that the report's pages are rendered with."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from viaduct.languages import family_of, name_of
from viaduct.report import number

_FOLDER = Path(__file__).parent


def environment(prefix: str = "") -> Environment:
    """The environment for pages: filters, and our own style sheet and script, which a page allows to run by its hash.
    `prefix`: what the names of saved tables and figures start with."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": number.percent,
        "points": number.points,
        "duration": number.duration,
        "count": number.count,
        "size": number.size,
        "metric": metric_words,
        "language": name_of,
        "family": family_of,
        "slug": lambda label: re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_"),
        "svg": lambda drawing: Markup(drawing.inline),  # noqa: S704  drawn here, every text escaped by the SVG writer
        "combined": lambda first, second: {**first, **second},
    }
    style, script = ((_FOLDER / f"page.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    made.globals |= {
        "prefix": prefix,
        "style": Markup(style),  # noqa: S704  our own file
        "script": Markup(script),  # noqa: S704  our own file
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    }
    return made


def metric_words(name: str) -> str:
    """The name of a metric in tables."""
    return {"f1": "F1", "exact_match": "exact match"}.get(name, name.replace("_", " "))
