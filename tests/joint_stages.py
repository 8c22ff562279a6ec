"""Joint stages small enough to run in a test, and checks that hold for every one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from viaduct.models.encoder import save_encoder
from viaduct.models.vocabulary import trim
from viaduct.results.record import Retained
from viaduct.rows import Row, Sentence
from viaduct.runs.field import make_work
from viaduct.runs.spec import Replay, Training
from viaduct.runs.stage import Context
from viaduct.tasks.card import Task
from viaduct.training import joint_training
from viaduct.training.joint_training import JointBatch, JointTraining

BOTH = ("tiny-pair", "tiny-tagged")
TRAINING = Training(
    learning_rate=2e-3, max_steps=6, epochs=99.0, batch_tokens=400, max_length=32, stride=8, evaluations=2
)
REPLAYED = {"replay": Replay(batch_tokens=128, lines=40), "replay_languages": ("en", "de")}


def contexts(
    folder: Path,
    tokenizer: Any,
    rows: Mapping[tuple[str, str, str], Sequence[Row]] | None = None,
    cards: Sequence[Task] = (),
) -> Callable[..., Context]:
    """A function that maps a stage's name and work settings to its context; `rows` and `cards` are added to those of
    the text and of the labelled tasks."""
    encoder = folder / "made" / "encoder"
    save_encoder(tiny.encoder(tokenizer), tokenizer, encoder)
    known: dict[tuple[str, str, str], Sequence[Row]] = dict(rows or {})
    for code in tiny.LANGUAGES:
        lines = [f"{text} {at}" for at, text in enumerate(tiny.sentences(code) * 8)]
        known["text", "train", code] = [Sentence(str(at), code, text) for at, text in enumerate(lines)]
    for kind in tiny.CARDS:
        known[f"tiny-{kind}", "train", "en"] = tiny.rows(kind, 24)
        known[f"tiny-{kind}", "dev", "en"] = tiny.rows(kind, 12, offset=50)

    def context(name: str, **settings: Any) -> Context:
        work = make_work("joint", **{"training": TRAINING, "seed": 1, **settings})
        return tiny.context(work, folder / name, known, encoder=encoder, cards=(tiny.card("text", name="text"), *cards))

    return context


def weights(context: Context) -> dict[str, torch.Tensor]:
    return load_file(context.directory / "encoder" / "model.safetensors")


def steps(context: Context) -> list[JointBatch]:
    stage = JointTraining(context, context.work)
    return [stage.batch_at(step) for step in range(stage.schedule.steps)]


def assert_bfloat16_has_about_the_same_losses(make: Callable[..., Context], settings: dict[str, Any]) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        training = settings.get("training", TRAINING).model_copy(update={"precision": precision})
        context = make(precision, **{**settings, "training": training})
        assert tiny.run(context).precision == precision
        log = json.loads((context.directory / "training.json").read_text())
        losses[precision] = [one["loss"] for one in log["evaluations"]]
        assert all(weight.dtype == torch.float32 for weight in weights(context).values())
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05, abs=0.02)


def assert_an_encoder_of_the_same_shape_has_learned(make: Callable[..., Context], settings: dict[str, Any]) -> None:
    context = make("a", **settings)
    spent = tiny.run(context)
    before, after = load_file(Path(context.encoder) / "model.safetensors"), weights(context)
    assert {name: tensor.shape for name, tensor in before.items()} == {n: t.shape for n, t in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
    log = json.loads((context.directory / "training.json").read_text())
    assert spent.tokens == log["tokens"] > 0
    assert log["steps"] == 6
    assert sum(log["steps_by_member"].values()) in (0, 6)
    AutoModel.from_pretrained(context.directory / "encoder")
    retained = Retained.model_validate_json((context.directory / "retention.json").read_text())
    assert retained.distance > 0
    assert set(retained.before) == set(retained.after) == set(settings.get("replay_languages", ()))
    assert bool(retained.similarity) == bool(retained.before)
    assert all(0 <= value < 1 - 1e-9 for value in retained.similarity)


def assert_broken_off_it_gives_the_same_bytes(
    make: Callable[..., Context], settings: dict[str, Any], *files: str
) -> None:
    """Runs the stage twice, once interrupted in the middle: the encoder and these files must be identical."""
    once, broken = make("a", **settings), make("b", **settings)
    tiny.run(once)
    calls = 0

    class BrokenOffError(Exception):
        pass

    def progress(done: float, total: float, note: str) -> None:
        nonlocal calls
        calls += note.startswith("step")
        if calls == 4:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        tiny.run(tiny.with_progress(broken, progress))
    tiny.run(broken)
    one, other = weights(once), weights(broken)
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in files:
        assert (once.directory / name).read_bytes() == (broken.directory / name).read_bytes()


def assert_a_part_of_the_vocabulary_is_enough(
    make: Callable[..., Context], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training with only the used embedding rows must give bit-identical weights to training with all rows."""
    training = TRAINING.model_copy(update={"clip_norm": 0.05, "weight_decay": 0.01})
    found, rows_held = [], []
    for name in ("trimmed", "whole"):

        def keep(encoder: Any, kept: Any, name: str = name) -> Any:
            everything = np.arange(encoder.get_input_embeddings().num_embeddings)
            trimmed = trim(encoder, kept if name == "trimmed" else everything)
            rows_held.append(encoder.get_input_embeddings().num_embeddings)
            return trimmed

        monkeypatch.setattr(joint_training, "trim", keep)
        context = make(name, training=training, **settings)
        tiny.run(context)
        files = sorted(context.directory.rglob("*.safetensors"))
        found.append(
            {
                (str(path.relative_to(context.directory)), key): tensor
                for path in files
                for key, tensor in load_file(path).items()
            }
        )
    assert rows_held[0] < rows_held[1] / 2
    assert found[0].keys() == found[1].keys()
    for key, tensor in found[0].items():
        assert torch.equal(tensor, found[1][key]), key
