"""The report's section on images: gains with intervals, verdicts that can be negative, samples that stay text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from report_records import make_run

from viaduct.report import page
from viaduct.results.record import Retained, StageRetained
from viaduct.vision import section as images
from viaduct.vision.records import CaptionLoss, CaptionSample, CaptionScore, ImageUse, StageImages


def use(arm: str, image: str, gain: float, seed: int, *, spread: float = 0.05, **fields: Any) -> StageImages:
    """An arm whose held-out captions (20 images, two languages, two captions each) gain about `gain` per token."""
    drawn = np.random.default_rng(crc32(f"{arm} {seed}".encode()))
    losses = tuple(
        CaptionLoss(
            id=f"{number}/{at}",
            image=str(number),
            language=code,
            tokens=5,
            true=10.0,
            wrong=10.0 + 5 * (gain + own),
            null=12.0,
            right_true=4,
            right_wrong=3,
        )
        for number in range(20)
        for own in [float(drawn.normal(0, spread))]
        for code in ("en", "de")
        for at in range(2)
    )
    known: dict[str, Any] = {
        "card": "coco", "split": "dev", "image": image, "tower": "patches", "objectives": ("ar_caption",),
        "measured": "ar_caption", "losses": losses, "scores": (), "samples": (), "seen_languages": ("en", "de"),
    }  # fmt: skip
    return StageImages(arm=arm, seed=seed, use=ImageUse(**{**known, **fields}))


def several(arm: str, image: str, gain: float, **fields: Any) -> list[StageImages]:
    return [use(arm, image, gain, seed, **fields) for seed in (1, 2, 3)]


def test_an_arm_that_uses_images_and_controls_that_do_not() -> None:
    found = images.images_of([*several("caption", "true", 0.3), *several("wrong", "shuffled_image", 0.0)])
    assert found is not None
    assert not found.alarms
    assert [line.used for line in found.lines] == [True, False]
    (sentence,) = found.verdict
    assert sentence.startswith("caption used the image: a wrong one costs +0.2")
    gains = images.gains(found)
    assert set(gains) == {"true", "shuffled_image"}
    assert gains["true"]["low"] > 0 > gains["shuffled_image"]["low"]
    assert gains["true"]["low"] < gains["true"]["mean"] < gains["true"]["high"]
    assert found.lines[0].null_gain == pytest.approx(0.4)


def test_an_arm_that_does_not_use_its_images_is_said_not_to() -> None:
    found = images.images_of(several("caption", "true", 0.0))
    assert found is not None
    assert found.alarms
    assert "caption did not use the image" in found.verdict[0]


def test_a_control_with_a_gain_is_broken() -> None:
    found = images.images_of([*several("caption", "true", 0.3), *several("wrong", "shuffled_caption", 0.2)])
    assert found is not None
    assert found.alarms
    assert "this control is broken" in found.verdict[1]


def test_images_are_the_unit_not_captions() -> None:
    """All captions of an image share one random draw, so four captions tell no more than one."""
    whole = several("caption", "true", 0.3, spread=0.5)
    one = [
        StageImages(
            arm="caption",
            seed=member.seed,
            use=member.use.model_copy(
                update={"losses": tuple(loss for loss in member.use.losses if loss.id.endswith("/0"))}
            ),
        )
        for member in whole
    ]
    for count in (3, 1):
        found, less = images.image_gain(whole[:count]), images.image_gain(one[:count])
        assert found is not None and less is not None
        assert found[:3] == pytest.approx(less[:3])


def test_the_interval_is_over_seeds_too_from_three_seeds_on() -> None:
    members = [use("caption", "true", 0.3 + 0.15 * seed, seed, spread=0.05) for seed in (-1, 0, 1)]
    by_seed = images.image_gain(members)
    assert by_seed is not None and by_seed.over == "seeds and images"
    assert by_seed.low < 0.3 - 4.303 * 0.15 / 3**0.5 + 0.03, "at least Student's t over three seeds"
    assert images.images_of(members).lines[0].used is False  # type: ignore[union-attr]
    two = images.image_gain(members[:2])
    assert two is not None and two.over == "images"
    said = images.images_of(members[:2])
    assert said is not None and "interval over images +" in said.verdict[0]
    drawn = [np.random.default_rng(crc32(f"caption {seed}".encode())).normal(0, 0.05, 20) for seed in (-1, 0)]
    by_image = np.mean(drawn, axis=0) + 0.225
    half = 2.093 * by_image.std(ddof=1) / 20**0.5
    assert two[:3] == pytest.approx((by_image.mean(), by_image.mean() - half, by_image.mean() + half), abs=1e-4)


def test_one_image_tells_nothing_and_seeds_count_on_the_images_they_share() -> None:
    def only(member: StageImages, wanted: set[str]) -> StageImages:
        losses = tuple(loss for loss in member.use.losses if loss.image in wanted)
        return StageImages(arm=member.arm, seed=member.seed, use=member.use.model_copy(update={"losses": losses}))

    members = several("caption", "true", 0.3)
    found = images.images_of([only(member, {"3"}) for member in members])
    assert found is not None and found.lines[0].gain is None and found.lines[0].used is None
    shared = {str(number) for number in range(10)}
    apart = [only(members[0], shared), *members[1:]]
    assert images.image_gain(apart) == images.image_gain([only(member, shared) for member in members])


def test_stages_without_images_or_without_a_loss_per_token_have_no_gain() -> None:
    plain = images.images_of(several("text", "none", 0.0))
    assert plain is not None
    assert plain.lines[0].gain is None
    contrast = images.images_of(several("contrast", "true", 0.0, measured=None, losses=()))
    assert contrast is not None
    assert contrast.verdict == ()
    assert images.gains(contrast) == {}
    assert images.images_of(()) is None


def finding(arm: str, image: str, shares: Sequence[float], images_: int = 250) -> list[StageImages]:
    """An arm that only contrasts: for these shares of 300 captions, one per seed, the right image is ranked first."""
    return [
        use(arm, image, 0.0, seed, measured=None, losses=(), scores=(
            CaptionScore(language="all", metric="image_to_text_recall_at_1", value=share, n=images_, signature=""),
            CaptionScore(language="all", metric="text_to_image_recall_at_1", value=share, n=300, signature=""),
            CaptionScore(language="en", metric="text_to_image_recall_at_1", value=1.0, n=300, signature=""),
        ))
        for seed, share in enumerate(shares, 1)
    ]  # fmt: skip


def test_a_stage_that_only_contrasts_used_images_that_it_finds() -> None:
    found = images.images_of(
        [*finding("contrast", "true", (0.12, 0.10, 0.11)), *finding("wrong", "shuffled_image", (0.0, 0.01, 0.003))]
    )
    assert found is not None and not found.alarms
    assert [line.used for line in found.lines] == [True, False]
    assert found.verdict[0].startswith(
        "contrast used the image: the right one is ranked first for 11.0 % of held-out captions, 95 % "
    )
    assert found.verdict[0].endswith("guessing 0.4.")
    blind = images.images_of(finding("contrast", "true", (0.003, 0.007, 0.0)))
    assert blind is not None and blind.alarms and "contrast did not use the image (ranked first" in blind.verdict[0]
    leak = images.images_of(finding("wrong", "shuffled_image", (0.12, 0.10, 0.11)))
    assert leak is not None and leak.alarms and "still finds the right one (ranked first" in leak.verdict[0]
    for few in (finding("contrast", "true", (0.12, 0.10)), finding("texts", "text", (0.5, 0.5, 0.5))):
        told = images.images_of(few)
        assert told is not None and told.lines[0].used is None and told.verdict == ()


def test_guessing_is_seldom_taken_for_the_use_of_images() -> None:
    drawn = np.random.default_rng(1)
    worlds = [drawn.binomial(300, 1 / 250, seeds) / 300 for seeds in (3, 3, 9) for _ in range(400)]
    used = [images.images_found(finding("contrast", "true", shares)) for shares in worlds]
    assert fmean(one is not None and one.low > one.guessing for one in used) <= 0.025
    same = images.images_found(finding("contrast", "true", (0.0066, 0.0066, 0.0066)))
    assert same is not None and same.low < same.guessing, "seeds that agree by chance prove nothing"


@pytest.mark.usefixtures("no_heat_map_files")
def test_the_page_shows_gains_samples_and_forgetting_and_escapes_captions(tmp_path: Path) -> None:
    sample = CaptionSample(image="data:image/png;base64,AAAA", language="en", reference="a <b>", written="<script>")
    records = {
        "images": several("caption", "true", 0.3, samples=(sample,)),
        "retained": [
            StageRetained(
                arm="caption",
                seed=seed,
                retained=Retained(
                    distance=0.01,
                    before={"en": 2.0, "sw": 3.0},
                    after={"en": 2.1, "sw": 3.5},
                    head="",
                    similarity=(1.0, 0.875, 0.9),
                ),
            )
            for seed in (1, 2, 3)
        ],
    }
    run = make_run(arms=("none", "caption"), tasks=("xnli",), seeds=(1, 2, 3))
    path = page.write(*run, tmp_path, records=records)
    text = path.read_text(encoding="utf-8")
    assert "caption used the image" in text
    assert "&lt;script&gt;" in text
    assert text.count("<script>") == 1, "the page's own"
    assert "Swahili" in text
    assert "0.900" in text and "0.875" in text
    assert ">80.0<" in text and ">60.0<" in text, "tokens guessed with the true and a wrong image"
    assert json.loads((tmp_path / "image_gain.json").read_text())["true"]["low"] > 0
    page.write(*run, tmp_path)
    assert not (tmp_path / "image_gain.json").exists()
    assert "image gain" not in path.read_text(encoding="utf-8").lower()
