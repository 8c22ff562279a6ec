"""What a page, and anything saved from it, says if nothing on it is a result: a generated world, a quick look."""

from __future__ import annotations

from typing import NamedTuple

from viaduct.report.number import plural
from viaduct.results.record import About

QUICK_LOOK = "quick-look_"
"""Prefix for the name of every table and figure of a quick look: a CSV file has no other place to say so."""


class NoResult(NamedTuple):
    """Why nothing in one run, or in several, is a result; (False, ()) if it may be one."""

    miniature: bool
    limits: tuple[int, ...]
    """Maximum number of rows per language and split, of the runs with a limit."""

    @classmethod
    def of(cls, about: About) -> NoResult:
        """The reasons that apply to one run."""
        return cls(about.miniature, () if about.limit is None else (about.limit,))

    @property
    def notes(self) -> list[str]:
        """A sentence for each reason."""
        generated = "Generated world, demonstration only: every number is about invented data and never evidence about "
        rows = " or ".join(plural(limit, "row") for limit in self.limits)
        verb = "was" if self.limits == (1,) else "were"
        look = f"A quick look, no result: at most {rows} {verb} read per language and split (--limit)."
        return [f"{generated}languages, tasks or models."] * self.miniature + [look] * bool(self.limits)

    @property
    def prefix(self) -> str:
        """Prefix for the names of saved tables and figures."""
        return QUICK_LOOK if self.limits else ""
