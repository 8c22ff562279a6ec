"""Joint stages that are shown images: what arms share, what controls show, and what the stages produce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from in_parts import assert_parts_have_the_same_losses
from joint_stages import (
    REPLAYED,
    TRAINING,
    assert_a_part_of_the_vocabulary_is_enough,
    assert_an_encoder_of_the_same_shape_has_learned,
    assert_bfloat16_has_about_the_same_losses,
    assert_broken_off_it_gives_the_same_bytes,
    contexts,
    steps,
    weights,
)
from PIL import Image

from viaduct.encode.batch import collate
from viaduct.errors import UsageError
from viaduct.rows import Row
from viaduct.runs.spec import Retention
from viaduct.training.joint_training import JointTraining
from viaduct.vision import prefix
from viaduct.vision.fields import Captions, Objective
from viaduct.vision.image_use import recall_by_language
from viaduct.vision.member import CaptionMember
from viaduct.vision.objectives import CaptionModel
from viaduct.vision.records import ImageUse
from viaduct.vision.rows import Captioned, Picture

CAPTIONED = ("en", "de", "ru")
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "cyan", "magenta", "brown", "orange", "grey", "pink")


def captioned(folder: Path, split: str, count: int) -> dict[str, list[Row]]:
    """Language -> rows: each image has one main colour, and its caption begins with the word of the same number."""
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
def make(tmp_path: Path, tiny_tokenizer: Any) -> Any:
    """A function from a stage's work to its context."""
    (tmp_path / "images").mkdir()
    known = {
        ("pictures", split, code): rows
        for split, count in (("train", 36), ("dev", 12))
        for code, rows in captioned(tmp_path / "images", split, count).items()
    }
    return contexts(tmp_path, tiny_tokenizer, known, (tiny.card("captioned", name="pictures"),))


def seen(**settings: Any) -> dict[str, Any]:
    """The work settings of a stage that is shown the pictures."""
    captions = Captions(**{"card": "pictures", "tower": "patches", "tower_layers": 0, "dev_captions": 36, **settings})
    return {"captions": captions, "caption_languages": CAPTIONED}


def asked(*names: str) -> tuple[Objective, ...]:
    return tuple(Objective(name=name) for name in names)  # type: ignore[arg-type]


def captions_of(stage: JointTraining) -> CaptionMember:
    (member,) = stage.added
    assert isinstance(member, CaptionMember)
    return member


EVERY = {
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
    assert_bfloat16_has_about_the_same_losses(make, settings)


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY.keys())
def test_every_stage_leaves_an_encoder_of_the_same_shape_that_has_learned(make: Any, settings: dict[str, Any]) -> None:
    assert_an_encoder_of_the_same_shape_has_learned(make, settings)


IN_PARTS = ("captions", "mlm", "apart", "softmax", "trained", "text")


@pytest.mark.parametrize("name", IN_PARTS)
def test_batches_in_parts_have_the_same_losses(make: Any, name: str) -> None:
    """Lost images, masks, wrong images and captions are those of the whole step, and contrasts span all of it."""
    assert_parts_have_the_same_losses(lambda folder: make(folder, **EVERY[name]))


@pytest.mark.parametrize(
    "settings", [{**seen(), **REPLAYED, "tasks": ("tiny-pair",)}, seen(objectives=asked("contrastive"))]
)
def test_a_stage_done_twice_or_broken_off_gives_the_same_bytes(make: Any, settings: dict[str, Any]) -> None:
    assert_broken_off_it_gives_the_same_bytes(make, settings, "images.json", "retention.json")


@pytest.mark.parametrize(
    "settings",
    [
        seen(objectives=asked("contrastive"), contrast="softmax", negatives=5),
        {**seen(objectives=asked("contrastive", "itm", "imagine")), "tasks": ("tiny-pair",)},
    ],
    ids=["contrastive", "images"],
)
def test_a_stage_with_a_part_of_the_vocabulary_is_bit_identical(
    make: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_a_part_of_the_vocabulary_is_enough(make, settings, monkeypatch)


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


def test_recall_is_told_for_languages_without_captions_too(make: Any) -> None:
    """Compared with brute force over the same images; a stage that does not request it stays as it was."""
    settings = {**seen(objectives=asked("contrastive"), contrast="softmax"), "caption_languages": ("en", "de")}
    plain = make("plain", **settings)
    tiny.run(plain)
    captions = settings["captions"].model_copy(update={"retrieval_languages": ("ru",)})
    further = make("further", **{**settings, "captions": captions})
    tiny.run(further)
    assert all(torch.equal(tensor, weights(further)[name]) for name, tensor in weights(plain).items())
    uses = [ImageUse.model_validate_json((one.directory / "images.json").read_text()) for one in (plain, further)]
    assert uses[0].scores == tuple(score for score in uses[1].scores if score.language == "all")
    by_language = [score for score in uses[1].scores if score.language != "all"]
    assert {score.language for score in by_language} == {"en", "de", "ru"} and len(by_language) == 18
    assert all(score.n == 12 for score in by_language)

    stage = JointTraining(further, further.work)
    stage.model.eval()
    member, view = captions_of(stage), CaptionModel.of(stage.model)
    found = {
        (one.language, one.metric): one.value
        for one in recall_by_language(member.objectives, view, member.searched, stage.tokenizer.pad_token_id)
    }
    order = member.searched
    for code in ("en", "ru"):
        own = [at for at, caption in enumerate(order.data.captions) if caption.language == code]
        texts = torch.cat([_text_vector(member, view, order, at, stage.tokenizer.pad_token_id) for at in own])
        images = view.space.of_image(torch.from_numpy(order.features.pooled(order.data.image_of[own])))
        similar = (texts @ images.T).detach()
        right = sum(int((row >= row[at]).sum()) == 1 for at, row in enumerate(similar)) / len(own)
        assert found[code, "text_to_image_recall_at_1"] == pytest.approx(right)


def _text_vector(member: CaptionMember, view: CaptionModel, order: Any, at: int, pad: int) -> torch.Tensor:
    text = collate(order.encoded, np.array([at]), pad)
    return view.space.of_text(view.pooled(text, member.objectives.masking.special_V))


def test_an_encoder_without_room_for_images_is_refused(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "ABSOLUTE_POSITIONS", set())
    with pytest.raises(UsageError, match="no absolute positions"):
        tiny.run(make("a", **seen()))
