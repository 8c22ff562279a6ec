"""Several processes in one training: the same losses as with one, and what happens when one of them is lost.

`test_team.py` runs these cases in a separate process.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from in_parts import losses
from joint_stages import BOTH, TRAINING, contexts
from whole_runs import TINY, write_data

from viaduct.errors import UsageError, ViaductError
from viaduct.memory import Fitting
from viaduct.models.encoder import save_encoder
from viaduct.rows import Sentence
from viaduct.runs.execute import Options
from viaduct.runs.joining import require
from viaduct.runs.ranks import ALONE, Ranks, forked, launched
from viaduct.runs.spec import Pretrain, Replay, Retention
from viaduct.runs.stage import Context
from viaduct.training import job
from viaduct.training.pretrain import PretrainWork
from viaduct.training.team import follow
from viaduct.training.train import TrainWork

Losses = list[tuple[int, float, float | None]]


def several(count: int, made: Context, before: Callable[[Context], Context] = lambda context: context) -> Losses:
    """The losses of this stage with this many processes; `before` changes the context of all but the leading one."""

    def take_part(scratch: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            own = {"scratch": Path(scratch), "directory": Path(folder), "checkpoint_seconds": math.inf}
            tiny.run(before(replace(made, ranks=launched(), progress=lambda *_: None, **own)))

    with forked(count, lambda: follow("cpu", take_part)) as ranks:
        return losses(replace(made, ranks=replace(ranks, told=(str(made.scratch),))))


def train(folder: Path, tokenizer: Any, steps: int, kind: str = "pair") -> Context:
    save_encoder(tiny.encoder(tokenizer), tokenizer, folder / "start" / "encoder")
    asked = tiny.training(learning_rate=1e-4, epochs=1e4, max_steps=steps, batch_tokens=200, evaluations=2)
    rows = tiny.rows(kind, 24)
    work = TrainWork(task=f"tiny-{kind}", training=asked, seed=1)
    parts = {(f"tiny-{kind}", split, "en"): rows for split in ("train", "dev")}
    return tiny.context(work, folder, parts, encoder=folder / "start" / "encoder")


def joint(folder: Path, tokenizer: Any, steps: int) -> Context:
    settings = {
        "tasks": BOTH,
        "replay": Replay(batch_tokens=128, lines=40, max_length=16),
        "replay_languages": ("en", "de"),
        "retention": Retention(kl=0.5, l2_sp=0.01),
        "training": TRAINING.model_copy(update={"max_steps": steps, "epochs": 1e4, "learning_rate": 1e-4}),
    }
    return contexts(folder, tokenizer)("joint", **settings)  # type: ignore[no-any-return]


def pretrain(folder: Path, _tokenizer: Any, steps: int) -> Context:
    architecture = tiny.ARCHITECTURE.model_copy(update={"layers": 1, "vocabulary": 300, "dropout": 0.0})
    training = tiny.training(max_steps=steps, epochs=1e4, batch_tokens=256, max_length=32)
    work = PretrainWork(
        pretrain=Pretrain(name="t", text=("text",), architecture=architecture, training=training), languages=("en",)
    )
    rows = [Sentence(str(at), "en", text) for at, text in enumerate(tiny.sentences("en") * 3)]
    return tiny.context(work, folder, {("text", "train", "en"): rows})


@pytest.mark.parametrize("steps", [6, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [train, joint, pretrain])
def test_two_processes_have_the_losses_and_choices_of_one(
    make: Callable[..., Context], steps: int, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    one = losses(make(tmp_path / "one", tiny_tokenizer, steps))
    made = make(tmp_path / "two", tiny_tokenizer, steps)
    two = several(2, made)
    assert [step for step, *_ in two] == [step for step, *_ in one]
    assert [loss for _, loss, _ in two] == pytest.approx([loss for _, loss, _ in one], rel=1e-5)
    assert [score for *_, score in two] == [score for *_, score in one]
    logs = [(tmp_path / name).rglob("training.json") for name in ("one", "two")]
    assert len({path.read_text().split('"best_step"')[1].split(",")[0] for found in logs for path in found}) == 1
    assert not torch.distributed.is_initialized() and launched() == ALONE, "nothing of it is left"


def stop_after(step: int) -> Callable[[float, float, str], None]:
    def progress(done: float, _total: float, _note: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3)])
def test_a_training_goes_on_with_another_number_of_processes(
    before: int, after: int, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    whole = losses(train(tmp_path / "whole", tiny_tokenizer, 8))
    made = replace(train(tmp_path / "parts", tiny_tokenizer, 8), checkpoint_seconds=0.0)
    for count, progress in ((before, stop_after(5)), (after, made.progress)):
        asked = replace(made, progress=progress)
        try:
            found = losses(asked) if count == 1 else several(count, asked)
        except KeyboardInterrupt:
            continue
    assert [step for step, *_ in found] == [5, 6, 7, 8] and found[-1][2] == whole[-1][2]
    assert [loss for _, loss, _ in found] == pytest.approx([loss for _, loss, _ in whole[4:]], rel=1e-5)


def test_where_memory_runs_out_in_one_process_all_make_smaller_parts(
    tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_part, sizes = job.of_part, list[int]()

    def full(*given: Any) -> Any:
        rows = len(given[3].ids_BL)
        sizes.append(rows)
        if launched().number and rows > 2:
            torch.empty(2**48)
        return of_part(*given)

    monkeypatch.setattr(job, "of_part", full)
    one = losses(train(tmp_path / "one", tiny_tokenizer, 4))
    sizes.clear()
    two = several(2, train(tmp_path / "two", tiny_tokenizer, 4))
    assert [loss for _, loss, _ in two] == pytest.approx([loss for _, loss, _ in one], rel=1e-5)
    assert max(sizes) > 2 >= max(sizes[-4:])


def killed(context: Context) -> Context:
    def progress(done: float, _total: float, _note: str) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    return replace(context, progress=progress)


def broken(context: Context) -> Context:
    def load(*_: str) -> Any:
        raise UsageError("the others' rows are gone")

    return replace(context, load=load)


LOST: Mapping[str, tuple[Callable[[Context], Context], str]] = {
    "killed": (killed, "process 2 of 2 of the training: was ended by signal 9"),
    "broken": (broken, "process 2 of 2 of the training: the others' rows are gone"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_process_that_is_lost_ends_the_training_with_one_message(
    how: str, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    change, message = LOST[how]
    begun = time.monotonic()
    with pytest.raises(ViaductError) as raised:
        several(2, train(tmp_path, tiny_tokenizer, 1000), change)
    assert str(raised.value).startswith(message) and "run the same command again" in str(raised.value)
    assert time.monotonic() - begun < 60


def test_more_devices_than_there_are_and_two_ways_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.runs.joining.usable_cores", lambda: 2)
    for options, count, message in (
        (Options(device="cpu", fitting=Fitting(devices=3)), 1, r"--devices 3: there are 2 usable CPU cores here\n.*2"),
        (Options(device="cuda", fitting=Fitting(devices=2)), 1, r"there are 0 GPUs here\n.*--device cpu"),
        (Options(device="cpu", fitting=Fitting(devices=3)), 2, r"--devices 3: a launcher has started 2 processes"),
    ):
        with pytest.raises(UsageError, match=message):
            require(options, Ranks(count))
    require(Options(device="cpu", fitting=Fitting(devices=2)), ALONE)
    for other in ({"processes": 2}, {"executor": "ray"}):
        with pytest.raises(UsageError, match="with --processes or --executor"):  # before anything is planned
            Options(device="cpu", fitting=Fitting(devices=2), **other)
        with monkeypatch.context() as begun, pytest.raises(UsageError, match="with --processes or --executor"):
            begun.setenv("WORLD_SIZE", "2")
            Options(device="cpu", **other)


def run(folder: Path, store: str, *options: str) -> subprocess.Popen[bytes]:
    places = ["--data", str(folder / "data"), "--store", str(folder / store), "--allow-overlap"]
    command = [sys.executable, "-m", "viaduct", "run", str(folder / "tiny.py"), "--device", "cpu", "--threads", "1"]
    command += [*places, "--checkpoint-seconds", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "CI": "1"})


def curves(store: Path) -> dict[str, list[float]]:
    found = store.rglob("curve.json")
    return {str(path.relative_to(store)): json.loads(path.read_text())["loss"] for path in found}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_whole_run_on_two_devices_is_stopped_and_goes_on_and_ends_as_on_one(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    recipe = TINY.replace("STEPS", "40").replace("max_length=64),", "max_length=64, dropout=0.0),", 1)
    (tmp_path / "tiny.py").write_text(recipe.replace("learning_rate=1e-3", "learning_rate=1e-4"))
    alone = run(tmp_path, "one")
    assert alone.communicate(timeout=600)[1] is not None and alone.returncode == 0
    first = run(tmp_path, "two", "--devices", "2")
    while first.poll() is None and not [*(tmp_path / "two").rglob("checkpoint-0000000?")]:
        time.sleep(0.05)
    first.terminate()
    said = first.communicate(timeout=600)[1].decode()
    assert first.returncode == 143 and "run the same command again" in said and "Traceback" not in said
    second = run(tmp_path, "two", "--devices", "2")
    said = second.communicate(timeout=600)[1].decode()
    assert second.returncode == 0, said
    one, two = curves(tmp_path / "one"), curves(tmp_path / "two")
    assert one.keys() == two.keys() and len(one) == 3
    for path, expected in one.items():
        assert two[path] == pytest.approx(expected, rel=1e-5)
