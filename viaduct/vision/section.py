"""Whether image stages used their images: gain on held-out captions, written captions, retrieved images.

The rule, fixed before any run: a stage *used the image* if the 95 % interval of its image gain (loss with a wrong image
minus loss with the true one, in nats per caption token, or per label for texts about images) lies above 0. The interval
is over seeds and images; with fewer than three seeds it is over images alone, and the page says so. A stage without
such losses, such as a purely contrastive one, used the image if it finds the image of a held-out caption more often
than chance (interval over seeds, at least three; this rule was added after the first such run). A stage that was shown
wrong images must do neither. If it does, something other than the images tells captions apart: nothing is concluded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from viaduct.metrics.difference import FEWEST_SEEDS, TaskDifference, estimate, example_variance
from viaduct.metrics.spread import Numbers, Part, Spread
from viaduct.report.number import plural
from viaduct.report.section import Content, RunResults, Section, SeenLanguages, StageFile
from viaduct.vision import claims
from viaduct.vision.records import CaptionLoss, CaptionSample, CaptionScore, ImageUse, StageImages

IMAGES = StageFile("images", "joint", "images.json", StageImages, "use", private=("samples",))
TRUE = "true"
RECALLS = ("image_to_text_recall_at_1", "text_to_image_recall_at_1")

SHOWN = {
    "true": "its own image",
    "null": "the same learned constant",
    "shuffled_caption": "another image, drawn anew for every caption",
    "shuffled_image": "always the same wrong image",
    "noise": "noise",
    "text": "another caption of the same image",
    "none": "nothing",
}
"""What was shown as the image in training, in words."""


class ImageGain(NamedTuple):
    """Mean image gain in nats per caption token (or label), with its 95 % interval."""

    mean: float
    low: float
    high: float
    over: str
    """What the interval is over: "seeds and images", or "images"."""


class ImagesFound(NamedTuple):
    """Share of held-out captions whose image is ranked first, with its 95 % interval."""

    mean: float
    low: float
    high: float
    guessing: float
    """The share expected by chance."""


@dataclass(frozen=True)
class ImageLine:
    """Everything the page says about the images of one arm."""

    arm: str
    image: str
    objectives: str
    tower: str
    seeds: tuple[int, ...]
    unit: str
    """What the gain is per: "token" (of a caption) or "label"."""
    gain: ImageGain | None
    """None for stages without such losses, without images, or with only one image to measure on."""
    found: ImagesFound | None
    """None for stages that do not retrieve images, that have such losses, or that have too few seeds."""
    null_gain: float | None
    """The gain if the learned null image takes the place of the wrong one."""
    loss: float | None
    """Nats per caption token with the true image."""
    guessed: tuple[float, float] | None
    """Share of caption tokens predicted correctly with the true and with a wrong image."""
    scores: Mapping[str, float]
    """Metric -> mean over languages and seeds."""
    seen: tuple[str, ...]
    """Languages with captions in training."""

    @property
    def shown(self) -> str:
        """What was shown as the image in training, in words."""
        return SHOWN[self.image]

    @property
    def used(self) -> bool | None:
        """Whether the interval of the gain lies above 0, or that of retrieval above chance; None without either."""
        if self.gain is not None:
            return self.gain.low > 0
        return None if self.found is None else self.found.low > self.found.guessing


@dataclass(frozen=True)
class Images:
    """Everything that the page says about images."""

    lines: tuple[ImageLine, ...]
    samples: tuple[CaptionSample, ...]
    """Samples from the first arm that was shown true images and writes captions."""
    sample_arm: str
    verdict: tuple[str, ...]
    alarms: tuple[str, ...]
    """Sentences of the verdict about a stage that should have used images but did not, or that should have been unable
    to but did."""

    @property
    def metrics(self) -> list[str]:
        """Scores that the page has room for: recall only at 1 (`images.jsonl` has all scores)."""
        names = dict.fromkeys(name for line in self.lines for name in line.scores)
        return [name for name in names if "recall" not in name or name.partition(",")[0].endswith("_1")]


def images_of(uses: Sequence[StageImages]) -> Images | None:
    """Everything that the page says about images; None if no stage had any."""
    if not uses:
        return None
    arms: dict[str, list[StageImages]] = {}
    for one in uses:
        arms.setdefault(one.arm, []).append(one)
    lines = tuple(_line(arm, members) for arm, members in arms.items())
    written = [one for one in uses if one.use.image == TRUE and one.use.samples]
    verdict, alarms = _verdict(lines)
    return Images(
        lines=lines,
        samples=written[0].use.samples if written else (),
        sample_arm=written[0].arm if written else "",
        verdict=verdict,
        alarms=alarms,
    )


def _line(arm: str, members: Sequence[StageImages]) -> ImageLine:
    use = members[0].use
    losses = [loss for one in members for loss in one.use.losses]
    gained = use.image != "none" and bool(losses)
    scores: dict[str, list[float]] = {}
    for one in members:
        for score in one.use.scores:
            scores.setdefault(_column(score, use), []).append(score.value)
    return ImageLine(
        arm=arm,
        image=use.image,
        objectives=", ".join(use.objectives),
        tower=use.tower,
        unit="label" if use.measured == "label" else "token",
        seeds=tuple(one.seed for one in members),
        gain=image_gain(members) if gained else None,
        found=None if losses or use.image in ("text", "none") else images_found(members),
        null_gain=fmean((loss.null - loss.true) / loss.tokens for loss in losses) if gained else None,
        loss=fmean(loss.true / loss.tokens for loss in losses) if losses else None,
        guessed=_guessed(losses),
        scores={metric: fmean(values) for metric, values in scores.items()},
        seen=use.seen_languages,
    )


def _column(score: CaptionScore, use: ImageUse) -> str:
    """A score's column in the table: recall by language is grouped by whether there were captions in training."""
    if score.language == "all" or "recall" not in score.metric:
        return score.metric
    return f"{score.metric}, languages {'with' if score.language in use.seen_languages else 'without'} captions"


def _guessed(losses: Sequence[CaptionLoss]) -> tuple[float, float] | None:
    tokens = sum(loss.tokens for loss in losses)
    if not tokens:
        return None
    return sum(loss.right_true for loss in losses) / tokens, sum(loss.right_wrong for loss in losses) / tokens


def image_gain(members: Sequence[StageImages]) -> ImageGain | None:
    """The mean over languages of the gain per caption token; None unless all seeds share at least two images.

    Languages are taken as fixed. An image counts as one unit, with its captions in all languages.
    """
    found = [_by_language(one.use.losses) for one in members]
    shared = {
        code: sorted(set(own).intersection(*(other.get(code, ()) for other in found)))
        for code, own in found[0].items()
        if all(code in other for other in found)
    }
    values = {
        code: np.array([[by_code[code][image] for image in images] for by_code in found])
        for code, images in shared.items()
        if images
    }
    numbers = {image: at for at, image in enumerate(sorted({image for own in shared.values() for image in own}))}
    if len(numbers) < 2:
        return None
    units = {code: np.array([numbers[image] for image in shared[code]], np.int32) for code in values}
    return _with_interval(values, units)


def images_found(members: Sequence[StageImages]) -> ImagesFound | None:
    """How often captions of all languages find their image; None if images are not retrieved, or with fewer than three
    seeds."""
    scores = [{one.metric: one for one in member.use.scores if one.language == "all"} for member in members]
    if len(members) < FEWEST_SEEDS or not all(own.keys() >= {*RECALLS} for own in scores):
        return None
    by_image, by_text = (scores[0][name] for name in RECALLS)
    shares, guessing = [own[by_text.metric].value for own in scores], 1 / by_image.n
    seeds = Part(max(variance(shares) / len(shares), 1e-12), len(shares) - 1)
    captions = Part(guessing * (1 - guessing) / by_text.n, math.inf)  # for when all seeds agree by chance
    reach = Spread(seeds, (captions,)).reach()
    return ImagesFound(fmean(shares), fmean(shares) - reach, fmean(shares) + reach, guessing)


def _with_interval(values: Mapping[str, Numbers], units: Mapping[str, NDArray[np.int32]]) -> ImageGain:
    """The mean gain. `values`: language -> (S, N) gains; `units`: language -> (N,) indices of their images."""
    means_SL = np.stack([own.mean(axis=1) for own in values.values()], axis=1)
    chance = example_variance(values, units) if len(means_SL) > 1 else None
    known = estimate([TaskDifference("images", tuple(values), means_SL, chance)])
    if known.interval is not None:
        return ImageGain(known.mean, *known.interval, "seeds and images")
    drawn = example_variance({code: own.mean(axis=0)[None] for code, own in values.items()}, units)
    reach = Spread(Part(drawn.total, drawn.freedom)).reach() if drawn.total > 0 else 0.0
    return ImageGain(known.mean, known.mean - reach, known.mean + reach, "images")


def _by_language(losses: Sequence[CaptionLoss]) -> dict[str, dict[str, float]]:
    """Language -> image -> mean gain of its captions, because captions of one image are not independent."""
    gains: dict[str, dict[str, list[float]]] = {}
    for loss in losses:
        gains.setdefault(loss.language, {}).setdefault(loss.image, []).append((loss.wrong - loss.true) / loss.tokens)
    return {code: {image: fmean(values) for image, values in own.items()} for code, own in gains.items()}


def gains(images: Images) -> dict[str, dict[str, float | str]]:
    """What was shown as the image -> {mean, low, high, over} of the first such arm, in nats per caption token."""
    found: dict[str, dict[str, float | str]] = {}
    for line in images.lines:
        if line.gain is not None and line.image not in found:
            found[line.image] = line.gain._asdict()
    return found


def _verdict(lines: Sequence[ImageLine]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(all sentences, those that report a problem)."""
    told: dict[str, bool] = {}
    for line in lines:
        evidence = _evidence(line)
        if evidence is None:
            continue
        proof, breach, numbers = evidence
        if line.image == TRUE and line.used:
            told[f"{line.arm} used the image: {proof}{numbers}."] = False
        elif line.image == TRUE:
            why = "what it changed does not come from the content of the images"
            told[f"{line.arm} did not use the image ({numbers}): {why}."] = True
        elif line.used:
            why = "this control is broken, so nothing is concluded from the images"
            told[f"{line.arm} was shown {line.shown} and still {breach} ({numbers}): {why}."] = True
    return tuple(told), tuple(sentence for sentence, is_alarm in told.items() if is_alarm)


def _evidence(line: ImageLine) -> tuple[str, str, str] | None:
    """(what shows that images were used, what a broken control does, the numbers), in words; None without evidence."""
    if line.gain is not None:
        mean, low, high, over = line.gain
        numbers = f"{mean:+.3f} nats per {line.unit}, 95 % interval over {over} {low:+.3f} to {high:+.3f}"
        return "a wrong one costs ", "does worse with a wrong one", numbers
    if line.found is None:
        return None
    mean, low, high, guessing = (100 * share for share in line.found)
    interval = f"95 % interval over seeds {max(0.0, low):.1f} to {high:.1f}, guessing {guessing:.1f}"
    return "the right one is ", "finds the right one", f"ranked first for {mean:.1f} % of held-out captions, {interval}"


def _gist(lines: Sequence[ImageLine]) -> str:
    shown = [line.used for line in lines if line.image == TRUE and line.used is not None]
    return f"used by {sum(shown)} of {plural(len(shown), 'arm')} that saw the true images" if shown else ""


def _build(found: RunResults) -> Content | None:
    uses = found.of(IMAGES)
    images = images_of(uses)
    if images is None:
        return None
    return Content(
        {"images": images},
        files={"image_gain.json": gains(images)},
        facts={line.arm: line.used for line in images.lines if line.used is not None},
        alarms=images.alarms,
        gist=_gist(images.lines),
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
