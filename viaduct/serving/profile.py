"""A model's profile: what its architecture implies, what was measured, and under which conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from viaduct.encode.cache import write_tokens
from viaduct.encode.tokens import Array
from viaduct.errors import UsageError
from viaduct.models.encoder import forward_flops, load_tokenizer, num_layers, width, word_embeddings
from viaduct.results.working import working_folder
from viaduct.runs.execute import resolve_device
from viaduct.serving.engines import require_engine
from viaduct.serving.export import UNKNOWN_LIMITS, ExportSettings, export
from viaduct.serving.history import history
from viaduct.serving.machine import device_name, matrix_rate
from viaduct.serving.model import InferenceModel, encoder_folder, export_record, require_model, skeleton
from viaduct.serving.samples import Sample, Workload, with_builtin_cards, workload
from viaduct.serving.timing import WARM_UP, TimedModel, results

FORMAT = 1
"""Bump this when the way of measuring changes, so that older profiles are not silently compared with newer ones."""
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}

Announce = Callable[[Mapping[str, Any]], None]


def profiles(  # noqa: PLR0913  what the command line offers
    folders: Sequence[Path],
    engine: str | None = None,
    precision: str | None = None,
    *,
    threads: int = 1,
    device: str = "cpu",
    data: Path | None = None,
    rows: int = 200,
    announce: Announce = lambda _cost: None,
) -> list[dict[str, Any]]:
    """Plain values for each of the folders: `cost` (from the architecture), latency, throughput, memory, load time,
    size, energy, the conditions, and every raw sample. All models run rows of the first one's task.

    A folder is that of a trained stage, an encoder or an export. An export determines engine and precision; the others
    run in torch and fp32 by default, and are exported to a temporary folder for another engine. `device`: "cpu",
    "cuda", or "auto" for a GPU if there is one; memory, energy and the rate of products are then the GPU's. `announce`
    is called with each `cost` before the models are timed. Raises UsageError for options that do not go together.
    """
    device, temporary, task = resolve_device(device), Path(tempfile.gettempdir()), history(folders[0]).task
    chosen = [_chosen(folder, engine, precision, device) for folder in folders]
    rates = {how: max(matrix_rate(threads, device, how).values()) for how in dict.fromkeys(how for _, how in chosen)}
    subjects: list[Subject] = []
    with ExitStack() as opened:
        for folder, how in zip(folders, chosen, strict=True):
            require_model(folder)
            tokenizer = load_tokenizer(str(encoder_folder(folder)), None)
            model, known = skeleton(folder), history(folder)
            limits = model.within(known.limits or UNKNOWN_LIMITS)
            work = workload(tokenizer, task, limits, with_builtin_cards(data), rows)
            announce(cost(model, work, how[1], rates[how[1]], device))
            place = opened.enter_context(runnable(folder, *how, temporary, data))
            subjects.append(Subject(known.name, place, *how, work, device))
        scratch = opened.enter_context(working_folder(temporary))
        jobs = [subject.timed(scratch / f"rows-{at}", threads) for at, subject in enumerate(subjects)]
        measured = zip(subjects, results(jobs, threads), strict=True)
        return [subject.profile(found, threads, rates[subject.precision]) for subject, found in measured]


def _chosen(folder: Path, engine: str | None, precision: str | None, device: str) -> tuple[str, str]:
    record = export_record(folder)
    if record is None:
        engine, precision = engine or "torch", precision or "fp32"
        require_engine(engine, precision, device)
        return engine, precision
    if engine not in (None, record.engine) or precision not in (None, record.precision):
        raise UsageError(
            f"{folder} was exported for {record.engine} in {record.precision}",
            fix="leave out --engine and --precision, or name the folder that it was exported from",
        )
    require_engine(record.engine, record.precision, device)
    return record.engine, record.precision


@contextmanager
def runnable(
    folder: Path, engine: str, precision: str, scratch: Path, data: Path | None = None, sample: Sample | None = None
) -> Iterator[Path]:
    """A folder that the engine can open: this one, or an export of it in `scratch` that is removed afterwards; int8 is
    calibrated on `sample`, or on rows found in `data`."""
    if engine == "torch" or export_record(folder) is not None:
        yield folder
        return
    with working_folder(scratch) as place:
        export(folder, place / "exported", ExportSettings(engine, precision), data, sample)
        yield place / "exported"


@dataclass(frozen=True)
class Subject:
    """A model that is ready to be measured."""

    name: str
    folder: Path
    """The folder that the engine opens."""
    engine: str
    precision: str
    work: Workload
    device: str = "cpu"

    def timed(self, rows: Path, threads: int) -> TimedModel:
        """The job for the process that measures; the token arrays are written to the folder `rows`."""
        write_tokens(self.work.encoded, rows)
        folder = str(self.folder.resolve())
        return TimedModel(folder, self.engine, self.precision, threads, str(rows), self.work.pad_id, self.device)

    def profile(self, found: Mapping[str, Any], threads: int, rate: float = 0.0) -> dict[str, Any]:
        """The profile, from the results of the measuring process; `rate`: operations per second of matrix products, if
        measured before (the larger counts: the machine may have been busy at one of the two times)."""
        rate = max(rate, *found["flops_per_second_of_products"].values())
        implied = cost(skeleton(self.folder), self.work, self.precision, rate, self.device)
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
            "energy_joules_per_example": None
            if joules is None
            else joules / sum(one["examples"] for one in found["throughput"]),
            "disk_bytes": sum(file.stat().st_size for place in places for file in place.iterdir() if file.is_file()),
            "conditions": {
                "format": FORMAT,
                "device": device_name(self.device),
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
    """Throughput with the fastest batch size."""
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


def cost(
    model: InferenceModel, work: Workload, precision: str, flops_per_second: float, device: str = "cpu"
) -> dict[str, Any]:
    """The cost as plain values: size, operations per sentence overall and by language, the most sentences per second.

    A sentence is an example: the endings of a multiple-choice row count together. `flops_per_second` is the rate of
    matrix products that `machine.matrix_rate` measured: in float32 on CPUs, where int8 may exceed it.
    """
    sequences = np.diff(work.encoded.groups)
    of_example = np.repeat(np.arange(len(sequences)), sequences)
    tokens = np.bincount(of_example, weights=work.lengths, minlength=len(sequences))
    squares = np.bincount(of_example, weights=work.lengths.astype(float) ** 2, minlength=len(sequences))
    languages = np.array(work.languages)

    def per_sentence(chosen: Array | slice) -> dict[str, float]:
        sums = int(tokens[chosen].sum()), int(squares[chosen].sum())
        flops = forward_flops(model.encoder, *sums) / len(tokens[chosen])
        return {
            "sentences": len(tokens[chosen]),
            "tokens_per_sentence": float(tokens[chosen].mean()),
            "flops_per_sentence": flops,
            "most_sentences_per_second": flops_per_second / flops,
        }

    return {
        "layers": num_layers(model.encoder),
        "width": width(model.encoder),
        "parameters": parameters(model),
        "weight_bytes": weight_bytes(model, precision),
        "flops_per_second_of_products": flops_per_second,
        **({} if device == "cpu" else {"products": precision}),
        **per_sentence(slice(None)),
        "by_language": {code: per_sentence(languages == code) for code in dict.fromkeys(work.languages) if code},
    }


def parameters(model: InferenceModel) -> Mapping[str, int]:
    """The number of parameters: in total, in the token embedding, and in the rest."""
    total = sum(parameter.numel() for parameter in model.parameters())
    inside = word_embeddings(model.encoder).numel()
    return {"total": total, "token_embedding": inside, "rest": total - inside}


def weight_bytes(model: InferenceModel, precision: str) -> int:
    """Bytes of all weights in this precision. int8: a byte per weight of linear layers and of the token embedding, four
    per row for its scale, and four for everything else."""
    total = parameters(model)["total"]
    if precision in BYTES:
        return BYTES[precision] * total
    embedding = model.encoder.get_input_embeddings()  # type: ignore[operator]
    reduced = [module.weight for module in model.modules() if isinstance(module, nn.Linear) or module is embedding]
    return 4 * total - sum(3 * weight.numel() - 4 * weight.shape[0] for weight in reduced)
