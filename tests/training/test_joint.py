"""Joint stages: what is trained together, in which order, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel

from viaduct.errors import UsageError
from viaduct.models.encoder import save_encoder
from viaduct.models.vocabulary import trim
from viaduct.results.record import Retained
from viaduct.rows import Row, Sentence
from viaduct.runs.field import make_work
from viaduct.runs.spec import Mixture, Replay, Retention, Training
from viaduct.runs.stage import Context
from viaduct.training import joint_training
from viaduct.training.joint import JointWork
from viaduct.training.joint_training import JointBatch, JointTraining
from viaduct.training.replay import linear_cka
from viaduct.vision import prefix as vision
from viaduct.vision.fields import Captions, Objective
from viaduct.vision.member import CaptionMember
from viaduct.vision.records import ImageUse
from viaduct.vision.rows import Captioned, Picture

BOTH = ("tiny-pair", "tiny-tagged")
CAPTIONED = ("en", "de", "ru")
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "cyan", "magenta", "brown", "orange", "grey", "pink")
TRAINING = Training(learning_rate=2e-3, max_steps=6, epochs=99.0, batch_tokens=400, max_length=32, evaluations=2)


def captioned(folder: Path, split: str, count: int) -> dict[str, list[Row]]:
    """Language -> rows: an image is of one colour, and its caption is the word of the same number."""
    rows: dict[str, list[Row]] = {code: [] for code in CAPTIONED}
    for at in range(count):
        word = at % len(COLOURS)
        image = Image.new("RGB", (16, 16), COLOURS[word])
        path = folder / f"{split}-{at}.png"
        image.paste("navy", (at % 7, at % 5, 8 + at % 3, 14))
        image.save(path)
        for code in CAPTIONED:
            words = tiny.LANGUAGES[code]
            text = f"{words[word]} {words[(word * 5 + at // 12) % 12]}"
            rows[code].append(Captioned(f"{split}-{at}", code, Picture(str(path)), (text,), "rules"))
    return rows


@pytest.fixture
def make(tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from a stage's work to its context."""
    encoder = tmp_path / "made" / "encoder"
    save_encoder(tiny.encoder(tiny_tokenizer), tiny_tokenizer, encoder)
    (tmp_path / "images").mkdir()
    known: dict[tuple[str, str, str], list[Row]] = {}
    for split, count in (("train", 36), ("dev", 12)):
        for code, rows in captioned(tmp_path / "images", split, count).items():
            known["pictures", split, code] = rows
    for code in tiny.LANGUAGES:
        lines = [f"{text} {at}" for at, text in enumerate(tiny.sentences(code) * 8)]
        known["text", "train", code] = [Sentence(str(at), code, text) for at, text in enumerate(lines)]
    for kind in tiny.CARDS:
        known[f"tiny-{kind}", "train", "en"] = tiny.rows(kind, 24)
        known[f"tiny-{kind}", "dev", "en"] = tiny.rows(kind, 12, offset=50)
    cards = (tiny.card("text", name="text"), tiny.card("captioned", name="pictures"))

    def context(name: str, **settings: Any) -> Context:
        work = make_work("joint", **{"training": TRAINING, "seed": 1, **settings})
        return tiny.context(work, tmp_path / name, known, encoder=encoder, cards=cards)

    return context


def seen(**settings: Any) -> dict[str, Any]:
    """A stage that is shown the pictures."""
    captions = Captions(**{"card": "pictures", "tower": "patches", "tower_layers": 0, "dev_captions": 36, **settings})
    return {"captions": captions, "caption_languages": CAPTIONED}


def asked(*names: str) -> tuple[Objective, ...]:
    return tuple(Objective(name=name) for name in names)  # type: ignore[arg-type]


REPLAYED = {"replay": Replay(batch_tokens=128, lines=40), "replay_languages": ("en", "de")}


def weights(context: Context) -> dict[str, torch.Tensor]:
    return load_file(context.directory / "encoder" / "model.safetensors")


def steps(context: Context) -> list[JointBatch]:
    stage = JointTraining(context, context.work)
    return [stage.batch_at(step) for step in range(stage.schedule.steps)]


def captions_of(stage: JointTraining) -> CaptionMember:
    (member,) = stage.added
    assert isinstance(member, CaptionMember)
    return member


EVERY = {
    "tasks": {"tasks": BOTH},
    "replay": {"tasks": ("tiny-pair",), **REPLAYED},
    "kl": {"training": TRAINING, **REPLAYED, "retention": Retention(kl=0.5, l2_sp=0.01)},
    "captions": seen(),
    "mlm": {**seen(objectives=asked("mlm_caption")), **REPLAYED},
    "apart": seen(objectives=asked("contrastive", "itm", "imagine")),
    "softmax": seen(objectives=asked("contrastive"), contrast="softmax", negatives=5),
    "trained": seen(objectives=asked("contrastive", "itm"), contrast="softmax", tower_layers=1),
    "without": {**seen(image="none"), "tasks": ("tiny-pair",)},
    "text": seen(objectives=asked("contrastive"), image="text"),
    "lora": {**seen(), "retention": Retention(lora_rank=4, interpolate=0.5, freeze_embeddings=True)},
}


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY.keys())
def test_in_bfloat16_every_stage_has_about_the_same_losses(make: Any, settings: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY.keys())
def test_every_stage_leaves_an_encoder_of_the_same_shape_that_has_learned(make: Any, settings: dict[str, Any]) -> None:
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


def test_linear_cka_is_the_correlation_of_similarities_and_knows_no_rotation() -> None:
    torch.manual_seed(0)
    x_ND, y_ND = torch.randn(40, 6), torch.randn(40, 5)
    centre_NN = torch.eye(40) - 1 / 40
    grams = [centre_NN @ one @ one.T @ centre_NN for one in (x_ND, y_ND)]
    expected = (grams[0] * grams[1]).sum() / (grams[0].norm() * grams[1].norm())
    assert linear_cka(x_ND, y_ND) == pytest.approx(float(expected), rel=1e-4)
    rotation_DD, _ = torch.linalg.qr(torch.randn(6, 6))
    assert linear_cka(x_ND, 3 * x_ND @ rotation_DD + 1) == pytest.approx(1)


@pytest.mark.parametrize(
    "settings", [{**seen(), **REPLAYED, "tasks": ("tiny-pair",)}, seen(objectives=asked("contrastive"))]
)
def test_a_stage_done_twice_or_broken_off_gives_the_same_bytes(make: Any, settings: dict[str, Any]) -> None:
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
    for name in ("images.json", "retention.json"):
        assert (once.directory / name).read_bytes() == (broken.directory / name).read_bytes()


def test_arms_that_differ_in_the_image_share_captions_order_objectives_and_masks(make: Any) -> None:
    images = ("true", "null", "shuffled_caption", "shuffled_image", "noise", "none")
    batches = {image: steps(make(image, **seen(image=image))) for image in images}
    for image in images[1:]:
        for one, other in zip(batches["true"], batches[image], strict=True):
            assert one.main.objective == other.main.objective
            assert torch.equal(one.main.text.ids_BL, other.main.text.ids_BL)
            assert torch.equal(one.main.image_B, other.main.image_B)
    masks = {}
    for image in ("true", "none"):
        context = make(f"masks-{image}", **seen(image=image, objectives=asked("mlm_caption")))
        stage = JointTraining(context, context.work)
        batch = stage.batch_at(0).main
        torch.manual_seed(5)
        masks[image] = captions_of(stage).objectives.masking(batch.text.ids_BL, batch.text.mask_BL)[0]
    assert torch.equal(masks["true"], masks["none"])


def test_controls_show_what_they_say(make: Any) -> None:
    shown = {}
    for image in ("true", "shuffled_caption", "shuffled_image", "noise"):
        context = make(image, **seen(image=image))
        stage = JointTraining(context, context.work)
        order, features = captions_of(stage).train, captions_of(stage).train.features
        for step in range(12):
            batch = order.batch(step, 1)
            for image_at, patches_PV in zip(batch.image_B.tolist(), batch.patches_BPV.numpy(), strict=True):
                own = features.tokens([order.ids[image_at]])[0]
                found = [at for at, id in enumerate(order.ids) if np.array_equal(features.tokens([id])[0], patches_PV)]
                shown.setdefault(image, []).append((image_at, found, np.array_equal(own, patches_PV)))
    assert all(same for _, _, same in shown["true"])
    assert not any(same for _, _, same in shown["shuffled_caption"])
    assert not any(same for _, _, same in shown["shuffled_image"])
    wrong = {at: set() for at, _, _ in shown["shuffled_image"]}
    for at, found, _ in shown["shuffled_image"]:
        wrong[at].update(found)
    assert all(len(found) == 1 for found in wrong.values()), "always the same wrong image"
    drawn = {at: set() for at, _, _ in shown["shuffled_caption"]}
    for at, found, _ in shown["shuffled_caption"]:
        drawn[at].update(found)
    assert max(len(found) for found in drawn.values()) > 1, "another one for every caption"
    assert not any(found for _, found, _ in shown["noise"])


def test_an_encoder_that_has_learned_to_describe_images_loses_by_a_wrong_one(make: Any) -> None:
    training = TRAINING.model_copy(update={"max_steps": 120, "learning_rate": 4e-3, "batch_tokens": 1200})
    gains, right, texts = {}, {}, []
    for image in ("true", "shuffled_image"):
        context = make(image, training=training, **seen(image=image, null_share=0.0, label_smoothing=0.0))
        tiny.run(context)
        use = ImageUse.model_validate_json((context.directory / "images.json").read_text())
        gains[image] = np.mean([(loss.wrong - loss.true) / loss.tokens for loss in use.losses])
        right[image] = [sum(getattr(loss, name) for loss in use.losses) for name in ("right_true", "right_wrong")]
        assert all(0 <= loss.right_true <= loss.tokens for loss in use.losses)
        texts.append(use.samples)
    assert gains["true"] > 0.2
    assert gains["true"] > 3 * abs(gains["shuffled_image"])
    assert right["true"][0] > right["true"][1]
    words = {word: at for code in CAPTIONED for at, word in enumerate(tiny.LANGUAGES[code])}
    named = [[words.get(text.split()[0]) for text in (one.written, one.reference)] for one in texts[0] if one.written]
    assert sum(mine == right for mine, right in named) >= len(texts[0]) / 2, named


def test_members_are_drawn_by_the_mixture(make: Any) -> None:
    work = JointWork(tasks=BOTH, training=TRAINING, seed=1)
    rows = (100, 400)
    assert joint_training.shares(rows, work).tolist() == pytest.approx([0.2, 0.8])
    capped = work.model_copy(update={"mixture": Mixture(cap=100)})
    assert joint_training.shares(rows, capped).tolist() == [0.5, 0.5]
    warm = work.model_copy(update={"mixture": Mixture(sampling="temperature", cap=None, temperature=2.0)})
    assert joint_training.shares(rows, warm).tolist() == pytest.approx([1 / 3, 2 / 3])
    alike = work.model_copy(update={"mixture": Mixture(sampling="uniform")})
    assert joint_training.shares(rows, alike).tolist() == [0.5, 0.5]
    batches = steps(make("a", tasks=BOTH, training=TRAINING.model_copy(update={"max_steps": 40})))
    names = [batch.member.name for batch in batches]
    assert set(names) == set(BOTH)
    firsts = [batch.main.examples.tolist() for batch in batches if batch.member.name == "tiny-pair"]
    assert firsts != sorted(firsts)


def test_a_mixture_of_one_kept_whole_is_trained_as_the_plain_stage_would_be(make: Any, tmp_path: Path) -> None:
    """The same rows in batches of the same plan reach the same loss; only the order of epochs differs by its seed."""
    context = make("a", tasks=("tiny-pair",), training=TRAINING.model_copy(update={"max_steps": 30}))
    tiny.run(context)
    log = json.loads((context.directory / "training.json").read_text())
    assert log["evaluations"][-1]["loss"] < log["evaluations"][0]["loss"]
    assert (context.directory / "heads" / "pair-no-yes" / "head.safetensors").is_file()


def test_interpolation_and_lora_end_where_they_say(make: Any) -> None:
    plain, half = make("a", tasks=("tiny-pair",)), make("b", tasks=("tiny-pair",), retention=Retention(interpolate=0.5))
    tiny.run(plain)
    tiny.run(half)
    before, after, between = load_file(Path(plain.encoder) / "model.safetensors"), weights(plain), weights(half)
    for name, tensor in before.items():
        torch.testing.assert_close(between[name], (tensor + after[name]) / 2, atol=1e-6, rtol=0)
    low = make("c", tasks=("tiny-pair",), retention=Retention(lora_rank=2))
    tiny.run(low)
    for name, tensor in weights(low).items():
        change = tensor - before[name]
        if tensor.ndim == 2 and "embeddings" not in name:
            assert torch.linalg.matrix_rank(change, tol=1e-5) <= 2
        else:
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"tasks": ("tiny-pair",)},
        {"tasks": ("tiny-tagged",)},
        {"tasks": ("tiny-span",)},
        {"tasks": ("tiny-choice",)},
        {"tasks": tuple(card.name for card in tiny.CARDS.values()), "retention": Retention(l2_sp=0.1)},
        seen(objectives=asked("contrastive"), contrast="softmax", negatives=5),
        {**seen(objectives=asked("contrastive", "itm", "imagine")), "tasks": ("tiny-pair",)},
    ],
    ids=["pair", "tagged", "span", "choice", "together", "contrastive", "images"],
)
def test_a_stage_with_a_part_of_the_vocabulary_is_bit_identical(
    make: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_being_held_to_the_original_encoder_costs_nothing_until_it_moves(make: Any) -> None:
    """KL(original || present) is 0 at first; later its slope along its gradient is that of differences."""
    context = make("a", **REPLAYED, retention=Retention(kl=1.0))
    stage = JointTraining(context, context.work)
    model, replayed_text = stage.model.eval(), stage.replay
    original, batch = replayed_text.original, stage.batch_at(0).replay

    def divergence() -> torch.Tensor:
        losses = []
        for held_to in (original, None):
            replayed_text.original = held_to
            torch.manual_seed(1)  # the same masks
            losses.append(replayed_text.loss(model, batch))
        return losses[0] - losses[1]

    assert divergence().item() == pytest.approx(0.0, abs=1e-5)
    torch.manual_seed(2)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in weights:
            parameter.add_(0.1 * torch.randn_like(parameter))
    slopes = torch.autograd.grad(divergence(), weights, allow_unused=True)
    size = torch.sqrt(sum(slope.square().sum() for slope in slopes if slope is not None))
    assert size > 0.1

    def beside(step: float) -> float:
        with torch.no_grad():
            for parameter, slope in zip(weights, slopes, strict=True):
                parameter.add_(0 if slope is None else slope * (step / size))
            value = divergence().item()
            for parameter, slope in zip(weights, slopes, strict=True):
                parameter.sub_(0 if slope is None else slope * (step / size))
        return value

    assert (beside(0.01) - beside(-0.01)) / 0.02 == pytest.approx(size.item(), rel=0.01)


def test_an_encoder_without_room_for_images_is_refused(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "ABSOLUTE_POSITIONS", set())
    with pytest.raises(UsageError, match="no absolute positions"):
        tiny.run(make("a", **seen()))
