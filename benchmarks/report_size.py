"""How long it takes to make a report of XTREME's size whose intervals use every test example.

`python benchmarks/report_size.py` writes simulated outcomes of 12 arms x 9 tasks x 5 seeds with the published numbers
of test rows (BUCC: its training set's size, as the test set's is not published), as score stages leave them. It makes
the report from them in a separate process, and prints a table and, as its last line, one JSON object: seconds, seconds
of the comparisons alone, peak memory of the process, sizes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.memory import peak_bytes
from viaduct.report import page
from viaduct.report.contrasts import contrasts
from viaduct.results.outcomes import LanguageOutcomes, ids_digest, read_outcomes, write_outcomes
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.results.xtreme import TARGETS
from viaduct.tasks.catalogue import Catalogue

PARALLEL = ("xnli", "pawsx", "xquad", "mlqa")
BUCC_SENTENCES = 100_000
"""Approximate number of sentences per language."""


def sizes(task: str, scale: float) -> dict[str, int]:
    """Language -> number of test rows."""
    card = Catalogue.builtin().task(task)
    halves = 2 if task == "tatoeba" else 1  # its rows include both sides
    found = {code: card.expected.get((code, "test")) or BUCC_SENTENCES for code in card.languages}
    return {code: max(20, int(scale * rows / halves)) for code, rows in found.items()}


def outcomes(task: str, rows: Mapping[str, int], rng: np.random.Generator) -> dict[str, LanguageOutcomes]:
    """Language -> one model's simulated outcomes."""
    found, start = {}, 0
    for code, count in rows.items():
        units = np.arange(count, dtype=np.int32) + (0 if task in PARALLEL else start)
        start += count
        values: dict[str, Any]
        if task in ("udpos", "panx", "bucc"):
            gold = rng.integers(0, 2 if task == "bucc" else 12, count).astype(np.uint8)
            values = {"correct": rng.binomial(gold, 0.7).astype(np.uint8), "predicted": gold, "gold": gold}
        elif task in ("xquad", "mlqa", "tydiqa"):
            exact = rng.random(count) < 0.5
            values = {"exact_match": exact.astype(np.float32)}
            values["f1"] = np.where(exact, 1, rng.random(count) * 0.9).astype(np.float32)
        else:
            values = {"accuracy": (rng.random(count) < 0.7).astype(np.float32)}
        found[code] = LanguageOutcomes(values, units, ids_digest([code, str(count)]), 1 / 3, 0.34)
    return found


def rows_of(arm: str, task: str, seed: int, found: Mapping[str, LanguageOutcomes]) -> list[ResultRow]:
    """The result rows of one model's outcomes."""
    metrics = ("f1", "exact_match") if "f1" in next(iter(found.values())).values else None
    rows = []
    for code, one in found.items():
        for metric in metrics or Catalogue.builtin().task(task).metrics[:1]:
            value = float(one.values[metric].mean()) if metrics else float(one.scores().mean())
            named = {"recipe": "size", "encoder": "e", "arm": arm, "task": task, "language": code, "metric": metric}
            about = {"task_version": 1, "split": "test", "signature": metric, "selection": "last step"}
            kept = {"substitution": None, "fingerprint": "0", "n": len(one.units), "n_missing": 0, "seed": seed}
            rows.append(ResultRow(**named, **about, **kept, value=value, headline=metric != "exact_match"))
    return rows


class Written:
    """Outcomes below a folder, read one task at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def task(self, name: str) -> dict[str, dict[int, Mapping[str, LanguageOutcomes] | None]]:
        found: dict[str, dict[int, Mapping[str, LanguageOutcomes] | None]] = {}
        for path in sorted((self.folder / name).glob("*/*")):
            found.setdefault(path.parent.name, {})[int(path.name)] = read_outcomes(path)
        return found


def write(folder: Path, arms: int, seeds: int, scale: float) -> None:
    """Write all outcomes, and the run's records."""
    rng = np.random.default_rng(0)
    names = [BASELINE, *(f"arm{number}" for number in range(1, arms))]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for task in TARGETS:
            counts = sizes(task, scale)
            for arm in names:
                for seed in range(1, seeds + 1):
                    found = outcomes(task, counts, rng)
                    place = folder / task / arm / str(seed)
                    place.mkdir(parents=True)
                    write_outcomes(place, found)
                    file.writelines(row.model_dump_json() + "\n" for row in rows_of(arm, task, seed, found))
    about = {"recipe": "size", "hypothesis": "-", "command": "-", "encoder": "e", "arms": names, "tasks": TARGETS}
    nothing = {"encoder_details": {}, "substitutions": (), "data": (), "settings": {}, "versions": {}, "created": "-"}
    kept = About(**about, **nothing, seeds=tuple(range(1, seeds + 1)), miniature=False)
    (folder / "about.json").write_text(kept.model_dump_json(), encoding="utf-8")


def report(folder: Path) -> dict[str, Any]:
    """Make the report, and return the time and memory it took."""
    about = About.model_validate_json((folder / "about.json").read_text(encoding="utf-8"))
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [ResultRow.model_validate_json(line) for line in lines]
    start = time.perf_counter()
    contrasts(about, rows, outcomes=Written(folder))
    compared = time.perf_counter()
    page.write(about, rows, (), folder / "report", outcomes=Written(folder))
    return {
        "seconds": round(time.perf_counter() - compared, 1),
        "comparisons_seconds": round(compared - start, 1),
        "peak_bytes": peak_bytes(),
        "rows": len(rows),
        "outcome_bytes": sum(path.stat().st_size for path in folder.glob("*/*/*/outcomes.npz")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of test rows")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(report(options.of)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.arms, options.seeds, options.scale)
        command = [sys.executable, __file__, "--of", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.arms} arms x {len(TARGETS)} tasks x {options.seeds} seeds, {found['rows']:,} result rows")
    print(f"report {found['seconds']} s (comparisons alone {found['comparisons_seconds']} s), ", end="")
    print(f"peak {found['peak_bytes'] / 2**30:.2f} GiB, outcomes {found['outcome_bytes'] / 2**20:.0f} MiB")
    print(json.dumps({"arms": options.arms, "seeds": options.seeds, "scale": options.scale, **found}))


if __name__ == "__main__":
    main()
