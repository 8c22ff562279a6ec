"""What goes with a larger difference in a language: data in it, script, kinship to English, amount of text.

Spearman's rank correlation over the languages of a contrast, with a 95 % percentile interval from resampling languages.
Trained models are taken as they are, traits go together (a language far from English also tends to have less text), and
nothing is corrected for their number: this is where to look, not a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viaduct.languages import CC100_GIB, LANGUAGES
from viaduct.report.contrasts import OVERALL, Contrast
from viaduct.report.section import SeenLanguages

FEWEST_LANGUAGES = 6
"""Languages below which no correlation is shown."""
DRAWS = 2_000

INDO_EUROPEAN = ("Romance", "Baltic", "Slavic", "Greek", "Iranian", "Indo-Aryan")
"""Families that are kin of English without being as near as Germanic."""


def _latin(code: str) -> float | None:
    return float(LANGUAGES[code].script == "Latn") if code in LANGUAGES else None


def _kinship(code: str) -> float | None:
    if code not in LANGUAGES:
        return None
    family = LANGUAGES[code].family
    return 2.0 if family == "Germanic" else 1.0 if family in INDO_EUROPEAN else 0.0


TRAITS: Mapping[str, Callable[[str], float | None]] = {
    "Latin script": _latin,
    "kin of English": _kinship,
    "text in CC-100": CC100_GIB.get,
}
"""Trait -> its value in a language, larger for more of it; None where it is not known."""


def associations(found: Sequence[Contrast], seen: SeenLanguages | None = None) -> list[dict[str, Any]]:
    """A line for each arm's mean over tasks and each trait that is not the same in all languages.

    `seen`: the languages of the arms' own data. [] with one seed, and with fewer than six languages.
    """
    listed = []
    for one in found:
        if one.task != OVERALL or one.estimate is None:
            continue
        traits = dict(TRAITS)
        if seen is not None and one.arm in seen.by_arm:
            traits[f"{seen.what} in training"] = frozenset(seen.by_arm[one.arm]).__contains__
        for trait, value in traits.items():
            known = {code: number for code in one.by_code if (number := value(code)) is not None}
            if len(known) < FEWEST_LANGUAGES or len(set(known.values())) == 1:
                continue
            x_N = np.array(list(known.values()), dtype=float)
            rho, low, high = _with_interval(x_N, np.array([one.by_code[code] for code in known]))
            named = {"arm": one.arm, "against": one.against, "trait": trait}
            listed.append({**named, "rho": rho, "low": low, "high": high, "languages": len(known)})
    return listed


def _with_interval(x_N: NDArray[np.float64], y_N: NDArray[np.float64]) -> tuple[float, float, float]:
    """(rho, low, high); draws in which either is constant say nothing and are left out."""
    rng = np.random.default_rng(0)
    drawn_SN = rng.integers(0, len(x_N), (DRAWS, len(x_N)))
    low, high = np.nanquantile(_rank_correlation(x_N[drawn_SN], y_N[drawn_SN]), (0.025, 0.975))
    return float(_rank_correlation(x_N[None], y_N[None])[0]), float(low), float(high)


def _rank_correlation(x_SN: NDArray[np.float64], y_SN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's of each row; not a number where either side is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(one, axis=1) for one in (x_SN, y_SN)]
    x_SN, y_SN = (one - one.mean(1, keepdims=True) for one in ranks)
    spread = np.sqrt((x_SN**2).sum(1) * (y_SN**2).sum(1))
    with np.errstate(invalid="ignore"):
        rho: NDArray[np.float64] = np.where(spread > 0, (x_SN * y_SN).sum(1) / spread, np.nan)
    return rho
