"""The figure of the README: `python docs/results/figure.py STORE/runs/xstilts_e5/per_language.csv`, after
`viaduct report results/xstilts_e5 --store STORE`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt

ARMS = {
    "none": ("as it is", "#2a6fbb"),
    "mnli+l2_sp": ("after 150 steps of MNLI with L2-SP", "#3a9a5b"),
    "mnli": ("after 150 steps of MNLI (± standard deviation over seeds)", "#d07b2a"),
}


def main() -> None:
    """Draw Tatoeba by language, without MNLI, and after it with L2-SP and without, beside this file."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["task"], row["metric"]) == ("tatoeba", "accuracy")]
    found = {arm: {row["language"]: row for row in rows if row["arm"] == arm and row["value"]} for arm in ARMS}
    loss = {code: float(row["difference"]) for code, row in found["mnli"].items()}
    order = sorted(loss, key=lambda code: loss[code])
    figure, axes = plt.subplots(figsize=(9, 2.9), dpi=120)
    for arm, (label, colour) in ARMS.items():
        values = [100 * float(found[arm][code]["value"]) for code in order]
        spread = [100 * float(found[arm][code]["standard_deviation"]) for code in order]
        axes.errorbar(range(len(order)), values, yerr=spread, fmt="o", ms=4.5, lw=1, color=colour, label=label)
    axes.set_xticks(range(len(order)), order, fontsize=8)
    axes.set_ylabel("Tatoeba accuracy, %")
    axes.set_ylim(0, 102)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("xstilts_e5.png"))


if __name__ == "__main__":
    main()
