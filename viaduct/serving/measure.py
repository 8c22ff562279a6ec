"""The Measure stage: what every arm's model costs at inference, each against the first arm's.

Each model gets its profile from a fresh process; then each is compared with the first one in paired rounds. All of it
is on the CPU, whatever trained the models. Timings are no function of the inputs: made anew, the numbers are others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open

from viaduct.encode.tokens import Limits
from viaduct.models.encoder import load_tokenizer
from viaduct.results.store import canonical
from viaduct.runs.stage import Context, MeasureWork, Runner, Spent
from viaduct.serving import rounds
from viaduct.serving.cost import skeleton
from viaduct.serving.profile import Subject, asked, described, runnable, within
from viaduct.serving.records import ArmInference, MeasuredArms
from viaduct.serving.trained import encoder_folder
from viaduct.serving.trial import Trial, spread
from viaduct.serving.worker import results
from viaduct.serving.workload import of_rows


def run(context: Context) -> Spent:
    """Measure all arms and leave `inference.json`. Raises UsageError when a measuring process fails."""
    work = context.work
    assert isinstance(work, MeasureWork)  # noqa: S101  the executor's contract
    load_average = os.getloadavg()[0]
    settings = work.settings
    trial = _trial(context, work)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = [_subject(one, context, trial, stack) for one in work.arms]
        requests = [
            asked(subject, scratch / f"{number}.npz", settings.threads) for number, subject in enumerate(subjects)
        ]
        pairs = [rounds.Pair(requests[0], one, settings.rounds, settings.round_rows) for one in requests]
        notes = [f"profile of {one.arm}" for one in work.arms]
        notes += [f"{one.arm} against {work.arms[0].arm}" for one in work.arms]
        found: list[dict[str, Any]] = []
        context.progress(0, len(notes), notes[0])
        for one in results([*requests, *pairs], settings.threads):
            found.append(one)
            context.progress(len(found), len(notes), (*notes, "")[len(found)])
        profiles = [described(*parts) for parts in zip(subjects, requests, found[: len(subjects)], strict=True)]
    ratios = found[len(subjects) :]
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
                keys=weights_digest(context.inputs[one.arm]),
                profile=profile,
                seconds=tuple(ratio["seconds"]),
                against=tuple(ratio["against"]),
            )
            for one, profile, ratio in zip(work.arms, profiles, ratios, strict=True)
        ),
    )
    (context.directory / "inference.json").write_text(canonical(measured.model_dump(mode="json")), encoding="utf-8")
    return _spent(measured)


def _trial(context: Context, work: MeasureWork) -> Trial:
    """The rows that are measured on, spread over languages."""
    found = [context.load(work.task, work.split, code) for code in work.languages]
    there = [one for one in found if one.rows]
    rows = [row for one in there for row in spread(one.rows, work.settings.rows, there)]
    where = work.languages[0] if len(there) == 1 else f"{len(there)} languages"
    name = there[0].substitution or f"{work.task} {work.split}"
    return Trial(f"{name}, {where}", work.task, tuple(rows[: work.settings.rows]))


def _subject(one: Runner, context: Context, trial: Trial, stack: contextlib.ExitStack) -> Subject:
    """The arm's model, ready for its engine until the stack is closed."""
    work = context.work
    assert isinstance(work, MeasureWork)  # noqa: S101  the executor's contract
    folder = context.inputs[one.arm]
    tokenizer = load_tokenizer(str(encoder_folder(folder)), None)
    limits = within(Limits(work.max_length, work.stride), skeleton(folder))
    place = stack.enter_context(runnable(folder, one.engine, one.precision, None, trial))
    examples = of_rows(tokenizer, trial, limits)
    return Subject(one.arm, place, one.engine, one.precision, tokenizer.pad_token_id, examples)


def weights_digest(folder: Path) -> str:
    """SHA-256 of the names and shapes of the encoder's weights in a trained stage's folder."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(encoder_folder(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  not a mapping
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _spent(found: MeasuredArms) -> Spent:
    """What was timed; warm-up is not counted, and a round's rows are taken to be as long as all are."""
    tokens = flops = 0.0
    examples = 0
    for one in found.arms:
        samples, cost = one.profile["samples"], one.profile["cost"]
        in_rounds = 2 * rounds.PASSES * len(one.seconds) * found.round_rows
        batched = sum(batches["examples"] for batches in samples["throughput"])
        timed = len(samples["latency_ms"]) + batched + in_rounds
        examples += timed
        tokens += timed * cost["tokens_per_sentence"]
        flops += timed * cost["flops_per_sentence"]
    return Spent(tokens=round(tokens), flops=flops, examples=examples)
