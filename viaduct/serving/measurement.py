"""Implementation of the Measure stage: what every arm's model costs at inference, each compared with the first arm's.

Each model is profiled in a fresh process; then each is compared with the first one in paired rounds, all on the device
that the recipe names, whatever trained the models. Timings are not a function of the inputs: measuring again gives
other numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import safe_open

from viaduct.encode.tokens import Limits
from viaduct.errors import DataError, UsageError
from viaduct.models.encoder import load_tokenizer
from viaduct.results.working import working_folder
from viaduct.results.writing import canonical
from viaduct.runs.encoder import folder_of
from viaduct.runs.stage import Context, Spent
from viaduct.serving.measure import ArmEngine, MeasureWork
from viaduct.serving.model import encoder_folder, skeleton
from viaduct.serving.profile import Subject, runnable
from viaduct.serving.records import ArmInference, MeasuredArms
from viaduct.serving.samples import Sample, row_sample, workload_of
from viaduct.serving.timing import PASSES, PairedRounds, results


def run(context: Context, work: MeasureWork) -> Spent:
    """Measure all arms and write `inference.json`. Raises UsageError when a measuring process fails, and when a GPU is
    to be measured and the run has none."""
    if context.device != work.settings.device:
        what = f"measure.device is {work.settings.device}, but this run is on {context.device}"
        raise UsageError(what, fix="run with --device cuda, or set measure.device=cpu")
    load_average = os.getloadavg()[0]
    settings = work.settings
    sample = _sample(context, work)
    notes = [f"profile of {one.arm}" for one in work.arms]
    notes += [f"{one.arm} against {work.arms[0].arm}" for one in work.arms]
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        scratch = stack.enter_context(working_folder(context.scratch))
        subjects = [_subject(one, context, work, sample, stack) for one in work.arms]
        timed = [one.timed(scratch / f"{number}", settings.threads) for number, one in enumerate(subjects)]
        pairs = [PairedRounds(timed[0], one, settings.rounds, settings.round_rows) for one in timed]
        context.progress(0, len(notes), notes[0])
        for one in results([*timed, *pairs], settings.threads):
            found.append(one)
            context.progress(len(found), len(notes), (*notes, "")[len(found)])
        profiles = [subject.profile(one, settings.threads) for subject, one in zip(subjects, found, strict=False)]
    measured = MeasuredArms(
        task=work.task,
        seed=work.seed,
        first=work.arms[0].arm,
        round_rows=min(settings.round_rows, len(subjects[0].work.encoded)),
        load_average_before=load_average,
        arms=tuple(
            ArmInference(
                arm=one.arm,
                engine=one.engine,
                precision=one.precision,
                keys=weights_digest(_folder(context, one.arm)),
                profile=profile,
                seconds=tuple(ratio["seconds"]),
                against=tuple(ratio["against"]),
            )
            for one, profile, ratio in zip(work.arms, profiles, found[len(subjects) :], strict=True)
        ),
    )
    (context.directory / "inference.json").write_text(canonical(measured.model_dump(mode="json")), encoding="utf-8")
    return _spent(measured)


def _sample(context: Context, work: MeasureWork) -> Sample:
    """The rows to measure on, spread over languages."""
    found = {code: context.load(work.task, work.split, code) for code in work.languages}
    substitution = next((one.substitution for one in found.values() if one.rows), None)
    name = substitution or f"{work.task} {work.split}"
    rows = {code: one.rows for code, one in found.items()}
    sample = row_sample(name, context.task(work.task), rows, work.settings.rows)
    if sample is None:
        raise DataError(f"{name} has no rows to measure on", fix="check --data")
    return sample


def _subject(one: ArmEngine, context: Context, work: MeasureWork, sample: Sample, stack: ExitStack) -> Subject:
    """The arm's model, ready for its engine until the stack is closed."""
    folder = _folder(context, one.arm)
    tokenizer = load_tokenizer(str(encoder_folder(folder)), None)
    limits = skeleton(folder).within(Limits(work.max_length, work.stride))
    place = stack.enter_context(runnable(folder, one.engine, one.precision, context.scratch, sample=sample))
    return Subject(one.arm, place, one.engine, one.precision, workload_of(sample, tokenizer, limits), context.device)


def _folder(context: Context, arm: str) -> Path:
    """Folder of the arm's model: that of the stage that made it, or the recipe's own encoder."""
    if arm in context.inputs:
        return context.inputs[arm]
    return folder_of(context.start if context.revision is None else f"{context.start}@{context.revision}")


def weights_digest(folder: Path) -> str:
    """SHA-256 of the names and shapes of the encoder's weights in a trained stage's folder."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(encoder_folder(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  not a mapping
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _spent(found: MeasuredArms) -> Spent:
    """The work that was timed; warm-up is not counted, and a round's rows are assumed to be of average length."""
    tokens = flops = 0.0
    examples = 0
    for one in found.arms:
        samples, cost = one.profile["samples"], one.profile["cost"]
        in_rounds = 2 * PASSES * len(one.seconds) * found.round_rows
        batched = sum(batches["examples"] for batches in samples["throughput"])
        timed = len(samples["latency_ms"]) + batched + in_rounds
        examples += timed
        tokens += timed * cost["tokens_per_sentence"]
        flops += timed * cost["flops_per_sentence"]
    return Spent(tokens=round(tokens), flops=flops, examples=examples)
