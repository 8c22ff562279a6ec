"""What correlates with larger differences by language: data in it, script, kinship to English, amount of text.

Spearman's rank correlation over the languages of a contrast. The traits are themselves correlated (a language far from
English also tends to have less text), and nothing is tested: this shows where to look and is not a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from viaduct.languages import CC100_GIB, FAMILY_ORDER, INDO_EUROPEAN, UNKNOWN_SCRIPT, is_language, language
from viaduct.report.contrast import OVERALL, Contrast
from viaduct.report.section import SeenLanguages

FEWEST_LANGUAGES = 6
"""With fewer languages no correlation is shown."""


def _latin(code: str) -> float | None:
    script = language(code).script if is_language(code) else UNKNOWN_SCRIPT
    return None if script == UNKNOWN_SCRIPT else float(script == "Latn")


def _kinship(code: str) -> float | None:
    family = language(code).family if is_language(code) else ""
    if family not in FAMILY_ORDER:
        return None
    return 2.0 if family == "Germanic" else 1.0 if family in INDO_EUROPEAN else 0.0


TRAITS: Mapping[str, Callable[[str], float | None]] = {
    "Latin script": _latin,
    "kin of English": _kinship,
    "text in CC-100": CC100_GIB.get,
}
"""Trait -> its value for a language (larger: more of it); None if unknown."""


def associations(found: Sequence[Contrast], seen: SeenLanguages | None = None) -> list[dict[str, Any]]:
    """One line for each arm's mean over tasks and each trait that varies between languages.

    `seen`: the languages of the arms' own data. [] with one seed, and with fewer than six languages.
    """
    listed = []
    for one in found:
        if one.task != OVERALL or len(one.seeds) < 2:
            continue
        traits = dict(TRAITS)
        if seen is not None and one.arm in seen.by_arm:
            traits[f"{seen.what} in training"] = frozenset(seen.by_arm[one.arm]).__contains__
        for trait, value in traits.items():
            known = {code: number for code in one.weights if (number := value(code)) is not None}
            if len(known) < FEWEST_LANGUAGES or len(set(known.values())) == 1:
                continue
            rho = _rank_correlation(list(known.values()), [one.by_code[code] for code in known])
            if not math.isnan(rho):
                named = {"arm": one.arm, "against": one.against, "trait": trait}
                listed.append({**named, "rho": rho, "languages": len(known)})
    return listed


def _rank_correlation(x_N: Sequence[float], y_N: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN if either side is constant."""
    from scipy.stats import rankdata

    x_ranks_N, y_ranks_N = (rankdata(one) - (len(one) + 1) / 2 for one in (x_N, y_N))
    spread = float(np.sqrt((x_ranks_N**2).sum() * (y_ranks_N**2).sum()))
    return float(x_ranks_N @ y_ranks_N) / spread if spread else float("nan")
