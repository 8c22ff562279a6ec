"""One measurement of the mixture benchmark, in its own process: a joint stage over all members, or one member's own
Train stage, step by step.

`python mixture_worker.py '{...}'` prints one JSON object as its last line. A member's batches are the same in both,
because its stage uses the seed that the mixture derives for it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from stage_world import Pieces, card, context, lengths, write_encoder
from training_rows import SHAPES, Shape
from training_worker import speed

from viaduct.memory import peak_bytes
from viaduct.rows import Answer, Choice, Pair, Row, Span, Tagged
from viaduct.runs.spec import Mixture, Training
from viaduct.tasks.card import Task
from viaduct.training.joint import JointWork
from viaduct.training.train import TrainWork

ALL = "mixture"
UNION = "+union"
"""Suffix of a member's name: its own stage then holds the embedding rows of all members."""


@dataclass(frozen=True)
class Member:
    """A made-up task: the pieces of its texts (log-normal, clipped, not counting special ones), and its rows."""

    kind: str
    mean: float
    sigma: float
    limits: tuple[int, int]
    share: float
    """Number of rows, as a share of the shape's `set_rows`."""
    labels: tuple[str, ...] = ()


MEMBERS: Mapping[str, Member] = {
    "pairs": Member("pair", 34.0, 0.5, (6, 124), 1.0, ("entailment", "neutral", "contradiction")),
    "tags": Member("tagged", 22.0, 0.6, (3, 120), 0.5, tuple(f"T{number}" for number in range(17))),
    "spans": Member("span", 218.0, 0.4, (60, 380), 0.2),
    "choices": Member("choice", 34.0, 0.3, (12, 124), 0.2),
}
"""Lengths like MNLI's pairs, UD's sentences, SQuAD's questions with their paragraphs, and HellaSwag's contexts with one
of four endings."""
QUESTION, ENDINGS, ENDING = 12, 4, 8
DEV_ROWS = 4
MAX_LENGTH = 384


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    shape: str
    folder: str
    steps: int
    batch_tokens: int
    threads: int
    seed: int


@dataclass(frozen=True)
class Step:
    """One optimiser step: the batch's member, its number among that member's, its real tokens, and its time."""

    member: str
    own: int
    tokens: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Measurement:
    """The result."""

    variant: str
    steps: list[Step]
    peak_mib: float
    embedding_rows: int


class EnoughError(Exception):
    """All steps are done; the dev score and what is saved at the end are not timed."""


class Clock:
    """Wall and CPU seconds at the end of every step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.marks = [(time.perf_counter(), time.process_time())]

    def __call__(self, done: float, total: float, note: str) -> None:
        if note.startswith("step"):
            self.marks.append((time.perf_counter(), time.process_time()))
            if round(done) == self.steps:
                raise EnoughError

    def passed(self) -> list[tuple[float, float]]:
        """(wall, CPU) seconds of every step; those of the first one include what came before it."""
        ends = np.diff(np.array(self.marks), axis=0)
        return [(float(wall), float(cpu)) for wall, cpu in ends]


def cards() -> list[Task]:
    """One card per member."""
    return [card(name, member.kind, labels=member.labels) for name, member in MEMBERS.items()]


def make_rows(shape: Shape, seed: int) -> dict[tuple[str, str, str], Sequence[Row]]:
    """(member, split, "en") -> rows; all members draw their words from the same language."""
    generator = np.random.default_rng(seed)
    sizes = {
        name: lengths(
            generator, round(shape.set_rows * member.share) + DEV_ROWS, member.mean, member.sigma, member.limits
        )
        for name, member in MEMBERS.items()
    }
    total = sum(int(drawn.sum()) for drawn in sizes.values()) + ENDINGS * ENDING * len(sizes["choices"])
    pieces = Pieces(shape, seed, total)
    rows: dict[tuple[str, str, str], Sequence[Row]] = {}
    for name, member in MEMBERS.items():
        made = [_row(name, member, at, int(size), pieces) for at, size in enumerate(sizes[name])]
        rows[name, "train", "en"], rows[name, "dev", "en"] = made[DEV_ROWS:], made[:DEV_ROWS]
    return rows


def _row(name: str, member: Member, at: int, size: int, pieces: Pieces) -> Row:
    id = f"{name}-{at}"
    if member.kind == "pair":
        first = pieces.text(size - size // 3)
        return Pair(id, "en", first, pieces.text(size // 3), member.labels[at % len(member.labels)])
    if member.kind == "tagged":
        words = tuple(pieces.take(size))
        return Tagged(id, "en", words, tuple(member.labels[len(word) % len(member.labels)] for word in words))
    if member.kind == "span":
        question, words = pieces.text(QUESTION), pieces.take(size - QUESTION)
        begin = at % len(words)
        answer = Answer(words[begin], sum(len(word) + 1 for word in words[:begin]))
        return Span(id, "en", " ".join(words), question, (answer,))
    endings = tuple(pieces.text(ENDING) for _ in range(ENDINGS))
    return Choice(id, "en", pieces.text(size - ENDING), "", endings, at % ENDINGS)


def training(request: Request) -> Training:
    """Training settings, the same for all stages: no dev score before the last step."""
    return Training(
        learning_rate=2e-5,
        epochs=99.0,
        max_steps=request.steps + 1,
        batch_tokens=request.batch_tokens,
        max_length=MAX_LENGTH,
        evaluations=1,
    )


def measure(request: Request) -> Measurement:
    """Run and measure one variant."""
    clock = Clock(request.steps)
    run = _mixture if request.variant == ALL else _single
    batches, embedding_rows = run(request, clock)
    steps = [
        Step(member, own, tokens, wall, cpu)
        for (member, own, tokens), (wall, cpu) in zip(batches, clock.passed(), strict=True)
    ]
    peak = peak_bytes() / 2**20
    return Measurement(request.variant, steps, peak, embedding_rows)


def _mixture(request: Request, clock: Clock) -> tuple[list[tuple[str, int, int]], int]:
    from viaduct.training.joint_training import JointTraining

    asked = JointWork(
        tasks=tuple(MEMBERS), mixture=Mixture(sampling="uniform"), training=training(request), seed=request.seed
    )
    rows = make_rows(SHAPES[request.shape], request.seed)
    stage = JointTraining(context(asked, Path(request.folder), rows, request.threads, clock, cards()), asked)
    assert stage.model.trimmed is not None
    np.save(_union(request), stage.model.trimmed.kept_K.numpy())
    batches = []
    for step in range(request.steps):
        member, own = stage.schedule.at(step)
        assert member is not None
        batches.append((member.name, own, stage.batch_at(step).size.tokens))
    try:
        stage.run()
    except EnoughError:
        return batches, len(stage.model.words_VD)
    raise AssertionError("the stage ended before its steps were done")


def _union(request: Request) -> Path:
    """The file in which the mixture leaves the ids of the embedding rows that it holds."""
    return Path(request.folder) / "union.npy"


def _single(request: Request, clock: Clock) -> tuple[list[tuple[str, int, int]], int]:
    from viaduct.encode.batch import collate
    from viaduct.models.numerics import derived_seed
    from viaduct.models.vocabulary import trim
    from viaduct.training import finetuning

    name, union, _ = request.variant.partition(UNION)
    batches: list[tuple[str, int, int]] = []
    rows_held: list[int] = []

    def trim_and_count(encoder: Any, kept: Any) -> Any:
        kept = np.load(_union(request)) if union else kept
        rows_held.append(len(kept))
        return trim(encoder, kept)

    def collate_and_count(*given: Any) -> Any:
        batch = collate(*given)
        batches.append((name, len(batches), batch.tokens))
        return batch

    # With this seed the member gets the same batches as in the mixture.
    asked = TrainWork(task=name, training=training(request), seed=derived_seed(name, request.seed))
    rows = make_rows(SHAPES[request.shape], request.seed)
    replaced = {"trim": trim_and_count, "collate": collate_and_count}
    try:
        with patch.multiple(finetuning, **replaced):
            finetuning.fine_tune(context(asked, Path(request.folder), rows, request.threads, clock, cards()), asked)
    except EnoughError:
        return batches, rows_held[0]
    raise AssertionError("the stage ended before its steps were done")


def answer(wanted: dict[str, Any]) -> dict[str, Any]:
    """A measurement; or {} after writing what all measurements of a shape start from; or facts about this machine."""
    if "variant" in wanted:
        return asdict(measure(Request(**wanted)))
    if "shape" in wanted:
        write_encoder(SHAPES[wanted["shape"]], wanted["seed"], Path(wanted["folder"]) / "encoder")
        return {}
    return speed(wanted["threads"])


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
