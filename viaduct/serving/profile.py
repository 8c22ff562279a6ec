"""A model's profile: what its architecture implies, what the clock says, and under which conditions."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.models.encoder import load_tokenizer, longest_input
from viaduct.serving import probe
from viaduct.serving.conditions import FORMAT
from viaduct.serving.cost import cost, skeleton
from viaduct.serving.engines import is_exported, read_exported, require
from viaduct.serving.export import UNKNOWN_LIMITS, Wanted, export
from viaduct.serving.origin import origin
from viaduct.serving.trained import Whole, encoder_folder
from viaduct.serving.trial import Trial
from viaduct.serving.workload import Workload, save, workload

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
    model = skeleton(folder)
    task, limits = _training(folder)
    work = workload(tokenizer, task, within(limits, model), data, rows)
    rate = max(probe.matrix_rate(threads).values())
    announce(cost(model, work, precision, rate))
    with runnable(folder, engine, precision, data) as place, tempfile.TemporaryDirectory() as scratch:
        subject = Subject(origin(folder).name, place, engine, precision, tokenizer.pad_token_id, work)
        request = asked(subject, Path(scratch) / "rows.npz", threads)
        return described(subject, request, probe.measure(request), rate)


@dataclass(frozen=True)
class Subject:
    """A model that is ready to be measured."""

    name: str
    folder: Path
    """What the engine opens."""
    engine: str
    precision: str
    pad_id: int
    work: Workload


def asked(subject: Subject, rows: Path, threads: int) -> probe.Request:
    """What the process that measures is asked for; the token arrays are written to the file `rows`."""
    save(subject.work, rows)
    return probe.Request(
        folder=str(subject.folder.resolve()),
        engine=subject.engine,
        precision=subject.precision,
        threads=threads,
        rows=str(rows),
        pad_id=subject.pad_id,
    )


def described(subject: Subject, request: probe.Request, found: Mapping[str, Any], rate: float = 0.0) -> dict[str, Any]:
    """The profile, from what the process found; `rate`: operations per second of matrix products, where they were
    measured before (the machine may have been busy at one of the two times)."""
    rate = max(rate, *found["flops_per_second_of_products"].values())
    implied = cost(skeleton(subject.folder), subject.work, subject.precision, rate)
    return {
        "model": subject.name,
        "engine": subject.engine,
        "precision": subject.precision,
        "cost": implied,
        **_summary(found, subject.work, implied),
        "disk_bytes": _disk_bytes(subject.folder),
        "conditions": {
            "format": FORMAT,
            "device": probe.device(),
            "threads": request.threads,
            "rows": f"{len(subject.work.encoded):,} examples: {subject.work.name}",
            "rows_digest": subject.work.digest,
            "warm_up": probe.WARM_UP,
            "tokenising": "not included",
            "load_average_before": found["load_average_before"],
        },
        "versions": found["versions"],
        "samples": {"latency_ms": found["latency_ms"], "throughput": found["throughput"]},
    }


def within(limits: Limits, model: Whole) -> Limits:
    """These limits, cut at the longest input that the model takes."""
    return Limits(min(limits.max_length, longest_input(model.encoder)), limits.stride)


def _chosen(folder: Path, engine: str | None, precision: str | None) -> tuple[str, str]:
    if is_exported(folder):
        about = read_exported(folder)
        if engine not in (None, about.engine) or precision not in (None, about.precision):
            raise UsageError(
                f"{folder} was exported for {about.engine} in {about.precision}",
                fix="leave out --engine and --precision, or name the folder that it was exported from",
            )
        return about.engine, about.precision
    engine, precision = engine or "torch", precision or "fp32"
    require(engine, precision)
    return engine, precision


def _training(folder: Path) -> tuple[str | None, Limits]:
    """The card that the head was trained on, and how its rows were cut."""
    if is_exported(folder):
        about = read_exported(folder)
        return about.task, about.limits
    known = origin(folder)
    return known.task, known.limits or UNKNOWN_LIMITS


@contextlib.contextmanager
def runnable(
    folder: Path, engine: str, precision: str, data: Path | None, trial: Trial | None = None
) -> Iterator[Path]:
    """A folder that the engine opens: this one, or an export of it that is gone afterwards; int8 is calibrated on
    `trial`, or on rows that are found in `data`."""
    if engine == "torch" or is_exported(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        export(folder, Path(scratch) / "exported", Wanted(engine, precision), data, trial)
        yield Path(scratch) / "exported"


def _disk_bytes(folder: Path) -> int:
    """Of the files in the folder and in its encoder's."""
    return sum(
        path.stat().st_size for place in {folder, encoder_folder(folder)} for path in place.iterdir() if path.is_file()
    )


def _summary(found: Mapping[str, Any], work: Workload, implied: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that are looked at first."""
    best = min(found["throughput"], key=lambda one: sum(one["seconds"]))
    seconds = sum(best["seconds"])
    per_second = len(work.encoded) / seconds
    operations = per_second * implied["flops_per_sentence"]
    joules = found["energy"]["joules"]
    ran = sum(one["examples"] for one in found["throughput"])
    return {
        "latency_ms": probe.percentiles(found["latency_ms"]),
        "throughput": {
            "examples_per_second": per_second,
            "tokens_per_second": best["tokens"] / seconds,
            "batch_tokens": best["batch_tokens"],
            "padding_fraction": best["padding_fraction"],
            "flops_per_second": operations,
            "share_of_product_rate": operations / implied["flops_per_second_of_products"],
        },
        "peak_bytes": found["peak_bytes"],
        "load_seconds": found["load_seconds"],
        "energy_joules_per_example": "not available" if joules is None else joules / ran,
    }
