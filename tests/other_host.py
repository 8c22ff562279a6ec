"""Runs `small_world.py` as if on a separate host: `python other_host.py HOST RECIPE DATA STORE [SECONDS]`.

Other hosts do not see its locks, and its heartbeats and leases are short (0.1 s and 3 s).
"""

from __future__ import annotations

import sys
from pathlib import Path

import small_world

from viaduct.results import claim, working
from viaduct.results.store import Store

BEAT, LEASE = 0.1, 3.0


def become(host: str) -> None:
    """From now on this process acts as if it ran on that host."""
    claim.BEAT_SECONDS, claim.LEASE_SECONDS = BEAT, LEASE
    claim.host = working.host = lambda: host
    Store._lock_file = lambda self, path: Path(f"{self.root / path}.{host}.lock")  # type: ignore[method-assign]


if __name__ == "__main__":
    become(sys.argv.pop(1))
    small_world.main()
