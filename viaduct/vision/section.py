"""Whether image stages used their images: gain on held-out captions, captions written, images found.

The rule, fixed before any run: a stage *used the image* when its image gain (loss with a wrong image less loss with the
true one, in nats per caption token) has a 95 % interval above 0, over images and seeds. A stage that was shown wrong
images must not have one; where it has, something other than the images tells captions apart, and nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from viaduct.metrics.bootstrap import FAMILY, LANGUAGE, Design, Estimate, hierarchical_bootstrap
from viaduct.metrics.outcomes import Examples, Run
from viaduct.report.section import Content, RunResults, Section, SeenLanguages, StageFile
from viaduct.vision import claims
from viaduct.vision.records import CaptionLoss, CaptionSample, StageImages

IMAGES = StageFile("images", "joint", "images.json", StageImages, "use")
TRUE = "true"

SHOWN = {
    "true": "its own image",
    "null": "the same learned constant",
    "shuffled_caption": "another image, drawn anew for every caption",
    "shuffled_image": "always the same wrong image",
    "noise": "noise",
    "text": "another caption of the same image",
    "none": "nothing",
}
"""What stood for the image in training, in words."""


@dataclass(frozen=True)
class ImageLine:
    """One arm."""

    arm: str
    image: str
    objectives: str
    tower: str
    seeds: tuple[int, ...]
    gain: Estimate | None
    """Nats per caption token; None for stages without a loss per token, and without images."""
    null_gain: float | None
    """The same with the learned null image in place of a wrong one."""
    loss: float | None
    """Nats per caption token with the true image."""
    guessed: tuple[float, float] | None
    """Share of caption tokens that are guessed right with the true and with a wrong image."""
    scores: Mapping[str, float]
    """Metric -> mean over languages and seeds."""
    seen: tuple[str, ...]
    """Languages with captions in training."""

    @property
    def shown(self) -> str:
        """What stood for the image in training, in words."""
        return SHOWN[self.image]

    @property
    def used(self) -> bool | None:
        """Whether the gain's interval is above 0; None when there is no gain to look at."""
        return None if self.gain is None else self.gain.low > 0


@dataclass(frozen=True)
class Images:
    """Everything that the page says about images."""

    lines: tuple[ImageLine, ...]
    samples: tuple[CaptionSample, ...]
    """Of the first arm that was shown true images and writes captions."""
    sample_arm: str
    verdict: tuple[str, ...]
    broken: bool
    """Whether a stage that should have used images did not, or one that could not did."""

    @property
    def metrics(self) -> list[str]:
        """Scores that the page has room for: of recalls only those at 1 (`images.jsonl` has all)."""
        names = dict.fromkeys(name for line in self.lines for name in line.scores)
        return [name for name in names if "recall" not in name or name.endswith("_1")]


def images_of(uses: Sequence[StageImages]) -> Images | None:
    """What there is to say, None when no stage had images."""
    if not uses:
        return None
    arms: dict[str, list[StageImages]] = {}
    for one in uses:
        arms.setdefault(one.arm, []).append(one)
    lines = tuple(_line(arm, members) for arm, members in arms.items())
    written = [one for one in uses if one.use.image == TRUE and one.use.samples]
    verdict, broken = _verdict(lines)
    return Images(
        lines=lines,
        samples=written[0].use.samples if written else (),
        sample_arm=written[0].arm if written else "",
        verdict=verdict,
        broken=broken,
    )


def _line(arm: str, members: Sequence[StageImages]) -> ImageLine:
    use = members[0].use
    losses = [loss for one in members for loss in one.use.losses]
    gained = use.image != "none" and bool(losses)
    scores: dict[str, list[float]] = {}
    for one in members:
        for score in one.use.scores:
            scores.setdefault(score.metric, []).append(score.value)
    return ImageLine(
        arm=arm,
        image=use.image,
        objectives=", ".join(use.objectives),
        tower=use.tower,
        seeds=tuple(one.seed for one in members),
        gain=image_gain(members) if gained else None,
        null_gain=fmean((loss.null - loss.true) / loss.tokens for loss in losses) if gained else None,
        loss=fmean(loss.true / loss.tokens for loss in losses) if losses else None,
        guessed=_guessed(losses),
        scores={metric: fmean(values) for metric, values in scores.items()},
        seen=use.seen_languages,
    )


def _guessed(losses: Sequence[CaptionLoss]) -> tuple[float, float] | None:
    tokens = sum(loss.tokens for loss in losses)
    if not tokens:
        return None
    return sum(loss.right_true for loss in losses) / tokens, sum(loss.right_wrong for loss in losses) / tokens


def image_gain(members: Sequence[StageImages]) -> Estimate:
    """The mean over languages of a caption's gain per token.

    The interval knows images (with their captions, jointly over languages) and seeds, and takes languages as they are.
    """
    outcomes = {Run(one.seed): _by_language(one.use.losses) for one in members}
    return hierarchical_bootstrap(outcomes, None, Design(parallel=True, fixed=(LANGUAGE, FAMILY)))


def _by_language(losses: Sequence[CaptionLoss]) -> dict[str, Examples | float]:
    """Language -> gains by image: captions of one image are not independent."""
    gains: dict[str, dict[str, list[float]]] = {}
    for loss in losses:
        gains.setdefault(loss.language, {}).setdefault(loss.image, []).append((loss.wrong - loss.true) / loss.tokens)
    return {
        code: Examples(tuple(own), np.array([fmean(values) for values in own.values()])) for code, own in gains.items()
    }


def gains(images: Images) -> dict[str, dict[str, float]]:
    """What stood for the image -> {mean, low, high} of the first arm with it, in nats per caption token."""
    found: dict[str, dict[str, float]] = {}
    for line in images.lines:
        if line.gain is not None and line.image not in found:
            found[line.image] = {"mean": line.gain.mean, "low": line.gain.low, "high": line.gain.high}
    return found


def _verdict(lines: Sequence[ImageLine]) -> tuple[tuple[str, ...], bool]:
    """(sentences, whether something is wrong)."""
    sentences, broken = [], False
    for line in lines:
        if line.gain is None:
            continue
        interval = f"{line.gain.mean:+.3f} nats per token, 95 % interval {line.gain.low:+.3f} to {line.gain.high:+.3f}"
        if line.image == TRUE and line.used:
            sentences.append(f"{line.arm} used the image: a wrong one costs {interval}.")
        elif line.image == TRUE:
            sentences.append(
                f"{line.arm} did not use the image ({interval}): what it changed does not come from what is in images."
            )
            broken = True
        elif line.used:
            sentences.append(
                f"{line.arm} was shown {line.shown} and still loses by a wrong one ({interval}): this control is"
                " broken, so nothing is concluded from the images."
            )
            broken = True
    return tuple(sentences), broken


def _build(found: RunResults) -> Content | None:
    uses = found.of(IMAGES)
    images = images_of(uses)
    if images is None:
        return None
    return Content(
        {"images": images},
        files={"image_gain.json": gains(images)},
        facts={line.arm: line.used for line in images.lines if line.used is not None},
        seen=SeenLanguages("captions", {one.arm: one.use.seen_languages for one in uses}),
    )


SECTION = Section(
    name="images",
    title="Images",
    place=500,
    template=Path(__file__).with_name("images.html.j2"),
    build=_build,
    reads=(IMAGES,),
    writes=("image_gain.json",),
    claims=claims.CLAIMS,
    roles=claims.ROLES,
)
