"""A model's profile: what its architecture implies, what the clock says, and under which conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.errors import UsageError
from viaduct.models.encoder import load_tokenizer
from viaduct.serving.conditions import FORMAT
from viaduct.serving.cost import cost
from viaduct.serving.engines import require_engine
from viaduct.serving.export import UNKNOWN_LIMITS, ExportSettings, export
from viaduct.serving.history import history
from viaduct.serving.machine import device, matrix_rate
from viaduct.serving.model import encoder_folder, export_record, skeleton
from viaduct.serving.samples import Sample, Workload, save_tokens, with_builtin_cards, workload
from viaduct.serving.timing import WARM_UP, TimedModel
from viaduct.serving.worker import results

Announce = Callable[[Mapping[str, Any]], None]


def profile(
    folder: Path,
    engine: str | None = None,
    precision: str | None = None,
    *,
    threads: int = 1,
    data: Path | None = None,
    rows: int = 200,
    announce: Announce = lambda _cost: None,
) -> dict[str, Any]:
    """Plain values: `cost` (from the architecture), latency, throughput, memory, load time, size, energy, the
    conditions, and every raw sample.

    `folder` is a trained stage's, an encoder's, or an exported one, which decides engine and precision itself; others
    run in torch and fp32 unless said, and are exported to a temporary folder for another engine. `announce` is given
    `cost` before anything is measured. Raises UsageError for what does not go together.
    """
    engine, precision = _chosen(folder, engine, precision)
    tokenizer = load_tokenizer(str(encoder_folder(folder)), None)
    model, known = skeleton(folder), history(folder)
    work = workload(tokenizer, known.task, model.within(known.limits or UNKNOWN_LIMITS), with_builtin_cards(data), rows)
    rate = max(matrix_rate(threads).values())
    announce(cost(model, work, precision, rate))
    with runnable(folder, engine, precision, data) as place, tempfile.TemporaryDirectory() as scratch:
        subject = Subject(known.name, place, engine, precision, work)
        (found,) = results([subject.timed(Path(scratch) / "rows.npz", threads)], threads)
        return subject.profile(found, threads, rate)


def _chosen(folder: Path, engine: str | None, precision: str | None) -> tuple[str, str]:
    record = export_record(folder)
    if record is None:
        engine, precision = engine or "torch", precision or "fp32"
        require_engine(engine, precision)
        return engine, precision
    if engine not in (None, record.engine) or precision not in (None, record.precision):
        raise UsageError(
            f"{folder} was exported for {record.engine} in {record.precision}",
            fix="leave out --engine and --precision, or name the folder that it was exported from",
        )
    return record.engine, record.precision


@contextmanager
def runnable(
    folder: Path, engine: str, precision: str, data: Path | None = None, sample: Sample | None = None
) -> Iterator[Path]:
    """A folder that the engine opens: this one, or an export of it that is gone afterwards; int8 is calibrated on
    `sample`, or on rows that are found in `data`."""
    if engine == "torch" or export_record(folder) is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        export(folder, Path(scratch) / "exported", ExportSettings(engine, precision), data, sample)
        yield Path(scratch) / "exported"


@dataclass(frozen=True)
class Subject:
    """A model that is ready to be measured."""

    name: str
    folder: Path
    """What the engine opens."""
    engine: str
    precision: str
    work: Workload

    def timed(self, rows: Path, threads: int) -> TimedModel:
        """What the process that measures is asked for; the token arrays are written to the file `rows`."""
        save_tokens(self.work.encoded, rows)
        folder = str(self.folder.resolve())
        return TimedModel(folder, self.engine, self.precision, threads, str(rows), self.work.pad_id)

    def profile(self, found: Mapping[str, Any], threads: int, rate: float = 0.0) -> dict[str, Any]:
        """The profile, from what the process found; `rate`: operations per second of matrix products, where they were
        measured before (the machine may have been busy at one of the two times)."""
        rate = max(rate, *found["flops_per_second_of_products"].values())
        implied = cost(skeleton(self.folder), self.work, self.precision, rate)
        places = {self.folder, encoder_folder(self.folder)}
        joules, latency = found["energy"]["joules"], found["latency_ms"]
        percentiles = np.percentile(latency, (50, 95, 99))
        return {
            "model": self.name,
            "engine": self.engine,
            "precision": self.precision,
            "cost": implied,
            "latency_ms": dict(zip(("p50", "p95", "p99"), percentiles.tolist(), strict=True)) | {"n": len(latency)},
            "throughput": _throughput(found, len(self.work.encoded), implied),
            "peak_bytes": found["peak_bytes"],
            "load_seconds": found["load_seconds"],
            "energy_joules_per_example": "not available"
            if joules is None
            else joules / sum(one["examples"] for one in found["throughput"]),
            "disk_bytes": sum(file.stat().st_size for place in places for file in place.iterdir() if file.is_file()),
            "conditions": {
                "format": FORMAT,
                "device": device(),
                "threads": threads,
                "rows": f"{len(self.work.encoded):,} examples: {self.work.name}",
                "rows_digest": self.work.digest,
                "warm_up": WARM_UP,
                "tokenising": "not included",
                "load_average_before": found["load_average_before"],
            },
            "versions": found["versions"],
            "samples": {"latency_ms": latency, "throughput": found["throughput"]},
        }


def _throughput(found: Mapping[str, Any], examples: int, implied: Mapping[str, Any]) -> dict[str, Any]:
    """Of the batch size that was the fastest."""
    best = min(found["throughput"], key=lambda one: sum(one["seconds"]))
    seconds = sum(best["seconds"])
    operations = examples / seconds * implied["flops_per_sentence"]
    return {
        "examples_per_second": examples / seconds,
        "tokens_per_second": best["tokens"] / seconds,
        "batch_tokens": best["batch_tokens"],
        "padding_fraction": best["padding_fraction"],
        "flops_per_second": operations,
        "share_of_product_rate": operations / implied["flops_per_second_of_products"],
    }
