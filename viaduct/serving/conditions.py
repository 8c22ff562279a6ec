"""Whether two measurements of what models cost to run were made under the same conditions.

A profile (`viaduct.serving.profile`) says under which conditions it was measured; reading it needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viaduct.errors import UsageError

FORMAT = 1
"""Raised when the way of measuring changes, so that older profiles are not compared with newer ones unnoticed."""

CONDITIONS = ("format", "device", "threads", "rows", "rows_digest", "warm_up", "tokenising")
"""What must be equal for two profiles to be compared."""


def comparable(one: Mapping[str, Any], other: Mapping[str, Any], *, knowingly: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The differences in conditions between two profiles, in words: () when they were measured alike.

    Raises UsageError for differences that are not named in `knowingly` ("threads", "device", ..., "versions"): numbers
    measured under different conditions are not compared without saying so.
    """
    differences = {
        name: f"{name.replace('_', ' ')}: {one['conditions'][name]} against {other['conditions'][name]}"
        for name in CONDITIONS
        if one["conditions"][name] != other["conditions"][name]
    }
    shared = one["versions"].keys() & other["versions"].keys()
    apart = [name for name in sorted(shared) if one["versions"][name] != other["versions"][name]]
    if apart:
        shown = ", ".join(f"{name} {one['versions'][name]} against {other['versions'][name]}" for name in apart)
        differences["versions"] = f"versions: {shown}"
    unsaid = [name for name in differences if name not in knowingly]
    if unsaid:
        lines = "".join(f"\n  - {differences[name]}" for name in unsaid)
        raise UsageError(
            f"{_named(one)} and {_named(other)} were measured under different conditions:{lines}",
            fix="measure both in the same way, or name the differences that you know of",
        )
    return tuple(differences.values())


def _named(found: Mapping[str, Any]) -> str:
    return f"{found['model']} ({found['engine']}, {found['precision']})"
