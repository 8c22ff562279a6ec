"""Numbers as a reader sees them: percent, points, durations, sizes. Inputs are fractions; nothing else in the package
writes percent, and nothing is rounded before it gets here.
"""

from __future__ import annotations

from collections.abc import Sequence

MINUS = "\u2212"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as percent without the sign: 0.7312 -> "73.1"."""
    return _signed_zero_free(f"{100 * value:.{digits}f}")


def points(value: float, digits: int = 1) -> str:
    """A difference of fractions in percentage points with its sign: 0.0131 -> "+1.3"; no sign if it rounds to zero."""
    text = _signed_zero_free(f"{100 * value:+.{digits}f}")
    return text.lstrip("+") if float(text.replace(MINUS, "-")) == 0 else text


def interval_words(ends: tuple[float, float]) -> str:
    """An interval of differences in percentage points: "95 % interval +1.0 to +5.4"."""
    return f"95 % interval {points(ends[0])} to {points(ends[1])}"


def duration(seconds: float) -> str:
    """Seconds in a suitable unit: "42 s", "12 min", "3.4 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(value: float) -> str:
    """A whole number with thousands separators; abbreviated from ten million up: "12.3 M", "4.5 G"."""
    for unit, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= max(unit, 1e7):
            return f"{value / unit:.1f} {letter}"
    return f"{value:,.0f}"


def plural(number: int, word: str) -> str:
    """The number with its noun: "1 seed", "3 seeds"."""
    return f"{number} {word}{'s' * (number != 1)}"


def listed(names: Sequence[str]) -> str:
    """One or more names as in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def seed_list(seeds: Sequence[int]) -> str:
    """The seeds, separated by spaces."""
    return " ".join(map(str, seeds))


def size(amount: float) -> str:
    """Bytes in binary units: "2.9 GiB"."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if amount >= limit:
            return f"{amount / limit:.1f} {unit}"
    return f"{amount:.0f} B"


def _signed_zero_free(text: str) -> str:
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)
