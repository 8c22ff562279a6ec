"""What a room adds to the report: the records it reads, its part of the page, its files and figures, its claims.

A `Section` is registered through the door "sections" (`viaduct.doors`). `viaduct report` collects what its stages left,
builds its content, writes its files and figures next to the page, and renders its template at its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from viaduct.doors import offered
from viaduct.report.contrast import Contrasts
from viaduct.results.record import About, Record, StageCost

if TYPE_CHECKING:
    from viaduct.report.drawing import Drawing
    from viaduct.report.evidence import Claim
    from viaduct.report.table import Tables

OneRecord = TypeVar("OneRecord", bound=Record)


@dataclass(frozen=True)
class StageFile(Generic[OneRecord]):
    """A file that some stages leave, and the record that the report reads from it."""

    name: str
    """Name of the run's own file with all of these records, `<name>.jsonl`."""
    kind: str
    """Kind of the stages; "" for stages of all kinds."""
    file: str
    """File name in a stage's directory; stages that had nothing to record have no such file."""
    record: type[OneRecord]
    content: str | None
    """The record's field for the content of the file, besides `arm`, `seed` and, if it has that field, the stage's
    `path`; None: the file holds the record itself."""
    private: tuple[str, ...] = ()
    """Lists in the file that hold texts or pictures from the data; they are emptied in committed rows."""
    committed: bool = True
    """Whether committed rows include it."""

    def is_of(self, kind: str) -> bool:
        """Whether stages of this kind may leave it."""
        return self.kind in ("", kind)

    def read(self, text: str, arm: str, seed: int, path: str = "") -> OneRecord:
        """The record of one stage. Raises pydantic's ValidationError for a file of another version."""
        found = json.loads(text)
        if self.content is not None:
            stage = {"arm": arm, "seed": seed, "path": path}
            found = {name: stage[name] for name in stage.keys() & self.record.model_fields} | {self.content: found}
        return self.record.model_validate(found)


@dataclass(frozen=True)
class RunResults:
    """What a section is built from."""

    about: About
    tables: Tables
    costs: Sequence[StageCost]
    records: Mapping[str, Sequence[Record]]
    """`StageFile.name` -> records of all sections' files."""
    contrasts: Contrasts = field(default_factory=Contrasts)
    """All comparisons of the page: anything a section says about differences is read from here."""

    def of(self, file: StageFile[OneRecord]) -> list[OneRecord]:
        """The records that were read from this kind of file."""
        return [one for one in self.records.get(file.name, ()) if isinstance(one, file.record)]


@dataclass(frozen=True)
class SeenLanguages:
    """The languages of some arms' own data, so that differences can be shown for languages with and without it."""

    what: str
    """The data, in the plural: "captions"."""
    by_arm: Mapping[str, Sequence[str]]

    def groups(self, arm: str, codes: Iterable[str]) -> dict[str, str]:
        """Language -> "with captions" or "without captions", {} for an arm without such data."""
        own = self.by_arm.get(arm, ())
        return {code: f"{'with' if code in own else 'without'} {self.what}" for code in codes} if own else {}


@dataclass(frozen=True)
class Content:
    """What a section has to say about one run."""

    values: Mapping[str, Any]
    """Name -> value of each variable of its template."""
    figures: Sequence[Drawing] = ()
    """Written as `<name>.svg`; the template decides where they are shown."""
    files: Mapping[str, Any] = field(default_factory=dict)
    """Name of a file next to the page -> the lines of a table (.csv), or its content (.json)."""
    facts: Any = None
    """For the rules of claims: `Evidence.facts` under the section's name."""
    seen: SeenLanguages | None = None
    gist: str = ""
    """Shown next to the heading while the section itself is collapsed."""
    alarms: Sequence[str] = ()
    """Sentences that no reader may miss: shown in red at the top of the page."""


@dataclass(frozen=True)
class Section:
    """One room's part of the report."""

    name: str
    """Also the id of its heading."""
    title: str
    """Its heading, which the page writes."""
    place: int
    """Sections and the report's own parts (`viaduct.report.page`) are shown in ascending order of this."""
    template: Path
    """A Jinja template; it imports what it needs from `macros.html.j2`."""
    build: Callable[[RunResults], Content | None]
    """Returns None if there is nothing to say: the page then has no such section."""
    reads: Sequence[StageFile[Any]] = ()
    writes: Sequence[str] = ()
    """Names of all files and figures that it may write, so that those of an earlier report are removed."""
    claims: Sequence[Claim] = ()
    """Its claims, listed after the report's own."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Role that its claims are about -> what an arm with this role does, in words."""


def sections() -> tuple[Section, ...]:
    """All rooms' sections, in the order of the page."""
    return tuple(sorted(offered("sections", Section).values(), key=lambda section: section.place))
