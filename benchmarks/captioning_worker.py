"""One measurement of the captioning benchmark, in its own process: our stage, or a plain loop over transformers' models
on the batches that our stage left for it.

`python captioning_worker.py '{...}'` prints one JSON object as its last line. The clock runs from the end of the last
warm-up step to the end of the last step.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from captioning_stage import (
    FILES,
    OBJECTIVES,
    TOWERS,
    picture_file,
    stage_context,
    work,
    write_pictures,
    write_tower,
)
from stage_world import write_encoder
from training_rows import SHAPES
from training_timing import Clock
from training_worker import speed

from viaduct.serving.machine import device_peak

CLOSE, CLOSE_ON_GPU = 1e-4, 5e-2
"""Nats by which the two losses may differ: ours reads features that were rounded to float16; on a GPU, features that
were computed in bfloat16."""
LONG = 10_000
"""Steps of our stage on a GPU, where it is stopped after the timed ones: see `training_ours`."""
WARM_UP = 2
"""Untimed first steps of ours, during which its memory is mapped, once for all steps."""
WARM_UP_CAPTIONS = 2
"""Captions in the plain loop's only warm-up step, which creates the optimiser's state."""


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    shape: str
    objective: str
    folder: str
    steps: int
    batch_tokens: int
    threads: int
    seed: int
    device: str = "cpu"


@dataclass(frozen=True)
class Measurement:
    """The result. `captions` and both clocks cover the timed steps; `loss` is that of the first batch, without dropout,
    before any step."""

    variant: str
    captions: int
    steps: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    embedding_rows: int
    loss: float


def measure(request: Request) -> Measurement:
    """Run and measure one variant."""
    variants = {"viaduct": _viaduct, "transformers": _transformers}
    clock = Clock(request.steps + 1, 1, request.device)
    captions, embedding_rows, loss = variants[request.variant](request, clock)
    seconds, cpu_seconds = clock.passed()
    peak = (device_peak(request.device) or 0) / 2**20
    return Measurement(request.variant, captions, request.steps, seconds, cpu_seconds, peak, embedding_rows, loss)


def prepare(shape: str, folder: Path, threads: int, seed: int, device: str) -> dict[str, float]:
    """Write what all measurements of a shape start from; returns the seconds that the tower takes per picture."""
    import torch

    from viaduct.models.numerics import prepare as prepare_torch
    from viaduct.vision.features import build_features
    from viaduct.vision.images import open_picture
    from viaduct.vision.rows import Picture
    from viaduct.vision.towers import load_tower

    place = prepare_torch(device, threads)
    write_encoder(SHAPES[shape], seed, folder / "encoder")
    write_tower(TOWERS[shape], seed, folder / "tower")
    write_pictures(TOWERS[shape], seed, folder / "pictures")
    tower = load_tower(str(folder / "tower"), None, device=place)
    pictures = [(str(at), Picture(str(picture_file(folder / "pictures", at)))) for at in range(FILES)]

    def build(wanted: list[tuple[str, Picture]]) -> float:
        started = time.perf_counter()
        build_features(
            wanted,
            tower,
            folder / "cache",
            opener=open_picture,
            batch=FILES,
            progress=lambda *_: None,
            skip_damaged=False,
        )
        return time.perf_counter() - started

    build(pictures[:1])  # loads the weights
    with torch.inference_mode():
        return {"tower_seconds": build(pictures) / (FILES - 1)}


# ---- our stage, as it is ---------------------------------------------------------------------------------------------


class EnoughError(Exception):
    """The timed steps are done; what a stage does after its last step is not timed."""


def _viaduct(request: Request, clock: Clock) -> tuple[int, int, float]:
    from viaduct.training.joint_training import JointTraining

    def progress(done: float, total: float, note: str) -> None:
        if note.startswith("step"):
            clock.step_done(round(done) - WARM_UP + 1)
            if done == request.steps + WARM_UP:
                raise EnoughError

    folder = Path(request.folder)
    steps = request.steps + WARM_UP if request.device == "cpu" else LONG
    asked = work(request.objective, folder, request.batch_tokens, steps, request.seed)
    context = stage_context(asked, request.shape, folder, request.threads, progress)
    stage = JointTraining(replace(context, device=request.device), asked)
    loss = _leave_for_others(stage, request)
    batches = [stage.batch_at(step).main for step in _timed(request)]
    embedding_rows = len(stage.model.words_VD)
    try:
        stage.run()
    except EnoughError:
        return sum(len(batch.image_B) for batch in batches), embedding_rows, loss
    raise AssertionError("the stage ended before its steps were done")


def _leave_for_others(stage: Any, request: Request) -> float:
    """Save the first batch's loss without dropout, the batches, their masks and the new parts' weights; return the
    loss."""
    import torch
    from safetensors.torch import save_file

    from viaduct.models.numerics import seed_all

    arrays: dict[str, Any] = {}
    for step in (0, *_timed(request)):
        batch = stage.batch_at(step)
        seed_all("step", request.seed, step)
        found = _drawn(stage, batch.main)
        if batch.replay is not None:
            found["replay/ids"] = batch.replay.ids_BL
            found["replay/masked"], found["replay/chosen"] = stage.replay.masking(
                batch.replay.ids_BL, batch.replay.mask_BL
            )
        arrays |= {f"{step}/{name}": tensor.numpy() for name, tensor in found.items()}
    stage.model.eval()
    seed_all("step", request.seed, 0)
    with torch.no_grad():
        loss = float(stage.loss(stage.model, stage.batch_at(0).to(stage.device)))
    np.savez(left(request, ".npz"), loss=np.array(loss), **arrays)
    save_file(
        {name: value.clone() for name, value in stage.model.head.state_dict().items()}, left(request, ".safetensors")
    )
    return loss


def _timed(request: Request) -> range:
    """The numbers of the timed steps."""
    return range(WARM_UP, WARM_UP + request.steps)


def left(request: Request, suffix: str) -> Path:
    """The file with this suffix that our stage leaves for the plain loop."""
    return Path(request.folder) / f"{request.objective}{suffix}"


def _drawn(stage: Any, batch: Any) -> dict[str, Any]:
    """A caption batch, with the masks and null images that the stage draws for it from the same seed."""
    import torch

    (captions,) = stage.added
    asked, pictures = captions.objectives, captions.train.data.pictures
    numbers = [int(Path(pictures[at][1].path).stem) for at in batch.image_B.tolist()]
    found = {
        "ids": batch.text.ids_BL,
        "image": batch.image_B,
        "language": batch.language_B,
        "file": torch.tensor(numbers),
    }
    if batch.objective == "mlm_caption":
        found["masked"], found["chosen"] = asked.masking(batch.text.ids_BL, batch.text.mask_BL)
    if batch.objective != "contrastive":
        found["dropped"] = torch.rand(len(batch.image_B)) < asked.captions.null_share
    return found


# ---- the same objectives over transformers' models, tower in the loop ------------------------------------------------


def _transformers(request: Request, clock: Clock) -> tuple[int, int, float]:
    import torch
    from captioning_plain import Plain
    from transformers.utils import logging

    from viaduct.models.numerics import products_in, training_precision

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(request.threads)
    torch.manual_seed(request.seed)
    with np.load(left(request, ".npz")) as file:
        expected = float(file["loss"])
        first, *steps = [_step_arrays(file, step) for step in (0, *_timed(request))]
    asked, _ = OBJECTIVES[request.objective]
    plain = Plain(Path(request.folder), asked, left(request, ".safetensors"), request.device).eval()
    place = torch.device(request.device)
    format, close = training_precision("auto", place), CLOSE if request.device == "cpu" else CLOSE_ON_GPU
    with nullcontext() if request.device == "cpu" else place:
        with torch.no_grad():
            loss = float(plain(first))
        if abs(loss - expected) > close:
            raise AssertionError(f"{request.objective}: the losses of the same batch are {expected} and {loss}")
        plain.train()
        optimizer = torch.optim.AdamW(plain.parameters(), lr=2e-5, weight_decay=0.0, fused=True)
        few = {name: array[:WARM_UP_CAPTIONS] for name, array in first.items()}
        for done, arrays in enumerate([few, *steps], start=1):
            with products_in(format, place):
                loss_now = plain(arrays)
            loss_now.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            clock.step_done(done)
    return sum(len(arrays["ids"]) for arrays in steps), SHAPES[request.shape].vocabulary, loss


def _step_arrays(file: Any, step: int) -> dict[str, np.ndarray]:
    start = f"{step}/"
    return {name.removeprefix(start): file[name] for name in file.files if name.startswith(start)}


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    if "variant" in wanted:
        print(json.dumps(asdict(measure(Request(**wanted)))))
    elif "shape" in wanted:
        print(
            json.dumps(
                prepare(wanted["shape"], Path(wanted["folder"]), wanted["threads"], wanted["seed"], wanted["device"])
            )
        )
    else:
        print(json.dumps(speed(**wanted)))
