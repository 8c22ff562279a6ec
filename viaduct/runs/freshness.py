"""Whether the report in a run's directory reflects what is done of that run now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from viaduct.results.store import Store
from viaduct.runs.collect import RunRecord, finished


class Freshness(NamedTuple):
    """The stages that a report was made from, compared with those that are done now."""

    stages_alike: int = 0
    """Stages that the report was made from and that are unchanged."""
    stages_foreign: int = 0
    """Stages that the report was made from and that are not, or no longer, this run's: another experiment's report."""
    stages_later: int = 0
    """Stages done since then."""

    @property
    def there(self) -> bool:
        """Whether there is a report that says what it was made from."""
        return self.stages_alike + self.stages_foreign > 0

    @property
    def words(self) -> str:
        """The state of the report in words."""
        if not self.there:
            return "none that says what it was made from"
        alike, foreign, later = self
        if foreign:
            return f"stale: {foreign:,} of its {alike + foreign:,} stages differ from what this run has now"
        if later:
            return f"stale: made from {alike:,} stages, and {later:,} have been done since"
        return f"up to date, made from {alike:,} stages"


def freshness(store: Store, record: RunRecord, directory: Path) -> Freshness:
    """How the report in a run's directory compares with the run's current state."""
    made = _made_from(directory / "report.json")
    if not made:
        return Freshness()
    now = {path: stage.fingerprint for path, stage in finished(store, record).items()}
    alike = now.items() & made.items()
    return Freshness(len(alike), len(made) - len(alike), len(now.keys() - made.keys()))


def _made_from(path: Path) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["about"]["made_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found
