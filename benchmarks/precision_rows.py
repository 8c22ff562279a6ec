"""Checks whether training with float32 products reproduces the committed scores of a recipe that trains in bfloat16.

`python benchmarks/precision_rows.py xstilts_e5 --arms mnli mnli+l2_sp --task tatoeba --data FOLDER` runs these cells
again with float32 products, everything else as in the recipe, into the store's run xstilts_e5_fp32, and compares them
with the committed rows of the same arms and seeds: difference (float32 less bfloat16) by seed and over seeds. Its last
line is one JSON object. Finished work stays in the store, so that it can resume. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from precision import interval

from viaduct import api
from viaduct.languages import ENGLISH
from viaduct.results.record import BASELINE
from viaduct.runs.collect import collect
from viaduct.runs.execute import Options
from viaduct.runs.recipes import load_recipe
from viaduct.runs.spec import Recipe

ROWS = Path(__file__).parents[1] / "results"


def main() -> None:
    options = _options()
    again = in_float32(load_recipe(options.recipe), options.arms, options.task, tuple(options.seeds))
    where = {"data": options.data, "store": options.store}
    api.run(again, **where, rows=ROWS, options=Options(device="cpu", threads=1, processes=2, keep="needed"))
    whole = {key: value for key, value in scores(again.name, options.store).items() if key[0] in options.arms}
    found = compared(scores(options.recipe, options.store), whole, options.task)
    for arm, one in found.items():
        low, high = one["interval"]
        print(
            f"{arm:12} {options.task}: bfloat16 {one['bf16']:.4f}, float32 {one['fp32']:.4f}, difference "
            f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f}; {len(one['by_seed'])} seeds); of all languages and "
            f"seeds {one['changed']:.0%} differ, by {one['most']:.4f} at most"
        )
    print(json.dumps({"recipe": options.recipe, "task": options.task, "arms": found}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="one with committed rows in results/")
    parser.add_argument("--arms", nargs="+", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="two or more (default 1 2 3)")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--store", type=Path, default=Path("store"))
    options = parser.parse_args()
    if len(set(options.seeds)) < 2:
        parser.error("--seeds must be two or more: one has no interval")
    return options


def in_float32(recipe: Recipe, arms: list[str], task: str, seeds: tuple[int, ...]) -> Recipe:
    """The cells of these arms, task and seeds with float32 products in every training, as a separate recipe."""
    changed = {
        "name": f"{recipe.name}_fp32",
        "intermediates": tuple(_exact(one) for one in recipe.intermediates if one.name in (BASELINE, *arms)),
        "targets": tuple(_exact(one) for one in recipe.targets if one.task == task),
        "seeds": seeds,
        "measure": None,
        **dict.fromkeys(("further_seeds", "deciding", "expected", "compare"), ()),
    }
    return recipe.model_copy(update=changed)


def _exact(spec: Any) -> Any:
    if spec.training is None or spec.training.precision != "bf16":
        return spec
    return spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "fp32"})})


Scores = Mapping[tuple[str, str, int], Mapping[str, float]]


def scores(run: str, store: Path) -> Scores:
    """(arm, task, seed) -> language other than English -> score; from a run's store, or else its committed rows."""
    _, kept, record = api.run_of(run, store, ROWS)
    rows = [row for row in collect(kept, record).rows if row.headline and row.language != ENGLISH]
    keys = {(row.arm, row.task, row.seed) for row in rows}
    return {key: {row.language: row.value for row in rows if (row.arm, row.task, row.seed) == key} for key in keys}


def compared(half: Scores, whole: Scores, task: str) -> dict[str, dict[str, Any]]:
    """Arm -> means, differences for seeds that both have, with their 95 % interval (Student's t), and the share of
    languages that differ at all: if none does, the trainings were the same. Ends the program if an arm has fewer than
    two such seeds."""
    found = {}
    for arm in sorted({arm for arm, of, _ in whole if of == task}):
        seeds = sorted(seed for one, of, seed in whole if (one, of) == (arm, task) and (arm, task, seed) in half)
        if len(seeds) < 2:
            raise SystemExit(f"{arm} has committed scores of {task} for {len(seeds)} of these seeds: two are needed")
        both = [(half[arm, task, seed], whole[arm, task, seed]) for seed in seeds]
        means = [(fmean(one.values()), fmean(two.values())) for one, two in both]
        moved = [abs(two[code] - one[code]) for one, two in both for code in one.keys() | two.keys()]
        by_seed = [two - one for one, two in means]
        over = interval(by_seed)
        found[arm] = {
            "bf16": fmean(one for one, _ in means),
            "fp32": fmean(two for _, two in means),
            "difference": over["mean"],
            "interval": [over["low"], over["high"]],
            "by_seed": dict(zip(seeds, by_seed, strict=True)),
            "changed": fmean(one > 0 for one in moved),
            "most": max(moved),
        }
    return found


if __name__ == "__main__":
    main()
