"""What a page, and whatever is saved from it, says where nothing is a result: a generated world, a quick look."""

from __future__ import annotations

from typing import NamedTuple

from viaduct.report.number import plural
from viaduct.results.record import About

QUICK_LOOK = "quick-look_"
"""Begins the name of every table and figure of a quick look: a CSV file has no other place to say so."""


class NoResult(NamedTuple):
    """Why nothing of one run, or of several, is a result; (False, ()) where it may be one."""

    miniature: bool
    limits: tuple[int, ...]
    """Rows of a language and split at most, of runs with a limit."""

    @classmethod
    def of(cls, about: About) -> NoResult:
        """Of one run."""
        return cls(about.miniature, () if about.limit is None else (about.limit,))

    @property
    def notes(self) -> list[str]:
        """A sentence for each reason."""
        generated = "Generated world, demonstration only: every number is about invented data and never evidence about "
        rows = " or ".join(plural(limit, "row") for limit in self.limits)
        verb = "was" if self.limits == (1,) else "were"
        look = f"A quick look, no result: of each language and split at most {rows} {verb} read (--limit)."
        return [f"{generated}languages, tasks or models."] * self.miniature + [look] * bool(self.limits)

    @property
    def prefix(self) -> str:
        """What names of saved tables and figures begin with."""
        return QUICK_LOOK if self.limits else ""
