"""Distillation: what the loss is, what is left unchanged, and what it produces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from in_parts import assert_parts_have_the_same_losses, in_float64, without_dropout
from safetensors.torch import load_file
from transformers import AutoModel

from viaduct.errors import NumbersError, UsageError
from viaduct.models.encoder import save_encoder
from viaduct.models.language import LANGUAGE_HEAD_FILE, MaskedLanguageHead, save_language_head
from viaduct.models.layers import pick_layers
from viaduct.rows import Row, Sentence
from viaduct.runs.spec import Training
from viaduct.runs.stage import Context
from viaduct.serving import distillation
from viaduct.serving.distil import Distil, DistilWork

LANGUAGES = ("en", "de")
TRAINING = Training(learning_rate=2e-3, max_steps=6, epochs=99.0, batch_tokens=200, max_length=32, evaluations=2)
Make = Callable[..., Context]


@pytest.fixture
def make(tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A function from the settings of a distillation to its context; the teacher has three layers."""
    teacher = tiny.encoder(tiny_tokenizer, layers=3, dropout=0.1)
    with torch.no_grad():
        for parameter in teacher.encoder.layer.parameters():  # otherwise random layers change next to nothing
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    head = MaskedLanguageHead(len(tiny_tokenizer))
    torch.nn.init.normal_(head.bias, std=0.1)
    for name in ("with", "without"):
        save_encoder(teacher, tiny_tokenizer, tmp_path / name / "encoder")
    save_language_head(head, tmp_path / "with")
    known: dict[tuple[str, str, str], list[Row]] = {}
    for code in LANGUAGES:
        lines = [f"{text} {at}" for at, text in enumerate(tiny.sentences(code) * 8)]
        known["text", "train", code] = [Sentence(str(at), code, text) for at, text in enumerate(lines)]

    def context(name: str, teacher: str = "with", **settings: Any) -> Context:
        asked = Distil(**{"layers": 2, "lines": 40, "mask_fraction": 0.3, "training": TRAINING, **settings})
        work = DistilWork(distil=asked, languages=LANGUAGES, seed=1)
        return tiny.context(
            work,
            tmp_path / name,
            known,
            encoder=tmp_path / teacher / "encoder",
            cards=(tiny.card("text", name="text"),),
        )

    return context


def started(context: Context) -> distillation.Distillation:
    return distillation.Distillation(context, context.work)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def states(folder: Path, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> list[torch.Tensor]:
    """The hidden states of every layer, as transformers gives them."""
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        return list(model(input_ids=ids_BL, attention_mask=mask_BL, output_hidden_states=True).hidden_states)


def test_the_students_layers_are_spaced_evenly_and_end_with_the_last() -> None:
    assert distillation.matched(1, 12) == [12]
    assert distillation.matched(6, 12) == [2, 4, 6, 8, 10, 12]
    assert distillation.matched(2, 3) == [2, 3]
    assert distillation.matched(5, 5) == [1, 2, 3, 4, 5]
    for of in range(1, 25):
        for layers in range(1, of + 1):
            assert len(set(distillation.matched(layers, of))) == layers and distillation.matched(layers, of)[-1] == of


@pytest.mark.parametrize("teacher", ["with", "without"])
def test_batches_in_parts_have_the_same_losses(make: Make, teacher: str, tmp_path: Path) -> None:
    without_dropout(tmp_path / teacher / "encoder")
    with in_float64(distillation):
        assert_parts_have_the_same_losses(lambda name: make(name, teacher))


def test_the_loss_is_as_it_is_written(make: Make, tmp_path: Path, tiny_tokenizer: Any) -> None:
    stage = started(make("a", hidden=0.7, logits=0.4, temperature=3.0))
    stage.student.eval()
    with torch.no_grad():
        for parameter in stage.student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    batch = stage.text.batch(0)
    torch.manual_seed(3)
    found = float(stage.loss(stage.student, batch).detach())
    torch.manual_seed(3)
    drawn = stage.text.masking.of_batch(batch)
    masked, chosen_BL = drawn.text, drawn.chosen_BL
    mask_BL = torch.ones_like(batch.ids_BL) if batch.mask_BL is None else batch.mask_BL.long()
    save_encoder(stage.student.encoder, tiny_tokenizer, tmp_path / "student")
    own = states(tmp_path / "student", masked.ids_BL, mask_BL)
    its = states(tmp_path / "with" / "encoder", masked.ids_BL, mask_BL)
    apart, guesses = [], []
    for layer, teacher_layer in ((1, 2), (2, 3)):
        for row, column in mask_BL.nonzero().tolist():
            one, other = own[layer][row, column], its[teacher_layer][row, column]
            apart.append(float(((one / one.norm() - other / other.norm()) ** 2).sum()))
    bias = load_file(tmp_path / "with" / LANGUAGE_HEAD_FILE)["bias"]
    own_words = stage.student.encoder.get_input_embeddings().weight.detach()
    its_words = weights(tmp_path / "with" / "encoder")["embeddings.word_embeddings.weight"]
    for row, column in chosen_BL.nonzero().tolist():
        p = torch.softmax((its[-1][row, column] @ its_words.T + bias) / 3.0, 0)
        q = torch.softmax((own[-1][row, column] @ own_words.T + stage.student.head.bias.detach()) / 3.0, 0)
        guesses.append(float((p * (p / q).log()).sum()))
    expected = 0.7 * sum(apart) / len(apart) + 0.4 * 9.0 * sum(guesses) / len(guesses)
    assert min(apart) > 0 and min(guesses) > 0
    assert found == pytest.approx(expected, rel=1e-4)


def test_in_bfloat16_the_losses_are_about_the_same(make: Make) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        context = make(precision, training=TRAINING.model_copy(update={"precision": precision}))
        assert tiny.run(context).precision == precision
        log = json.loads((context.directory / "training.json").read_text())
        losses[precision] = [one["loss"] for one in log["evaluations"]]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_teacher_whose_states_are_no_numbers_teaches_nothing(make: Make) -> None:
    stage = started(make("damaged"))
    with torch.no_grad():
        next(stage.teacher.parameters()).fill_(torch.nan)
    with pytest.raises(NumbersError, match="states from the teacher's in 'en' is no finite number but nan"):
        stage.run()


def test_a_student_comes_nearer_and_its_teacher_stays(make: Make, tmp_path: Path) -> None:
    before = weights(tmp_path / "with" / "encoder")
    context = make("a", training=TRAINING.model_copy(update={"max_steps": 30}))
    stage = started(context)
    spent = stage.run()
    after = stage.teacher.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    log = json.loads((context.directory / "training.json").read_text())
    assert log["teacher_layers"] == [2, 3] and log["steps"] == 30 and spent.tokens == log["tokens"] > 0
    assert log["masked_language_head"] == "of the stage that made the encoder"
    assert set(log["held_out"]["before"]) == set(LANGUAGES)
    assert all(log["held_out"]["after"][code] < log["held_out"]["before"][code] for code in LANGUAGES)
    opened = AutoModel.from_pretrained(context.directory / "encoder")
    assert opened.config.num_hidden_layers == 2
    head = load_file(context.directory / LANGUAGE_HEAD_FILE)
    assert not torch.equal(head["bias"], load_file(tmp_path / "with" / LANGUAGE_HEAD_FILE)["bias"])


def test_a_student_of_all_layers_that_does_not_move_is_its_teacher(make: Make, tmp_path: Path) -> None:
    still = Training(learning_rate=0.0, max_steps=1, epochs=9.0, batch_tokens=64, max_length=32)
    context = make("a", layers=3, training=still)
    tiny.run(context)
    teacher, student = weights(tmp_path / "with" / "encoder"), weights(context.directory / "encoder")
    assert teacher.keys() == student.keys()
    assert all(torch.equal(teacher[name], student[name]) for name in teacher)
    log = json.loads((context.directory / "training.json").read_text())
    assert set(log["held_out"]["after"].values()) == {0.0}


def test_without_a_head_the_guesses_are_left_out_and_that_is_said(make: Make, tmp_path: Path) -> None:
    context = make("a", teacher="without")
    stage = started(context)
    assert stage.student.trimmed is not None
    stage.run()
    log = json.loads((context.directory / "training.json").read_text())
    assert log["masked_language_head"] == "left out: the encoder has no masked-LM head"
    assert not (context.directory / LANGUAGE_HEAD_FILE).exists()
    name = "embeddings.word_embeddings.weight"
    before, after = weights(tmp_path / "without" / "encoder")[name], weights(context.directory / "encoder")[name]
    moved = (before != after).any(1)
    assert before.shape == after.shape and moved.any()
    assert set(moved.nonzero().flatten().tolist()) <= set(stage.student.trimmed.kept_K.tolist())


@pytest.mark.parametrize("settings", [{}, {"teacher": "without"}], ids=["head", "none"])
def test_a_stage_done_twice_or_broken_off_gives_the_same_bytes(make: Make, settings: dict[str, Any]) -> None:
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
    for path in sorted(once.directory.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (broken.directory / path.relative_to(once.directory)).read_bytes(), path.name


def test_more_layers_than_there_are_cannot_be_kept(make: Make, tiny_tokenizer: Any) -> None:
    with pytest.raises(UsageError, match="4 layers were requested: the encoder has 3"):
        tiny.run(make("a", layers=4))
    with pytest.raises(UsageError, match="the encoder has 2"):
        pick_layers(tiny.encoder(tiny_tokenizer), [])
