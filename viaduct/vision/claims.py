"""The open questions about image stages with their rules, fixed before any run; every number comes from result rows.

The primary contrast is the mean over the nine tasks of the mean over their languages without English. A run needs the
controls beside the stage, and nine seeds: each seed draws both the stage and the fine-tuning anew, so nine are no less
than three stage seeds with three fine-tuning seeds each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viaduct.metrics.bootstrap import Estimate
from viaduct.metrics.significance import ALPHA, MARGIN, holm
from viaduct.metrics.speed import FEWEST_ROUNDS, MeasuredInference, time_ratio, too_wide
from viaduct.report.evidence import (
    Claim,
    Evidence,
    Finding,
    UndecidedError,
    arm_difference,
    basis,
    decided,
    everywhere,
    no_gain,
    require_real,
    with_interval,
)
from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES

SEEDS = 9
STAGES = ("caption", "contrastive")
"""Roles of arms that train on captions with their images: writing or filling in captions, or telling them apart."""
CONTROLS = {
    "text_only": "without images",
    "shuffled_caption": "another image for every caption",
    "shuffled_image": "one wrong image each",
}
"""What every image stage needs beside it -> what stands for the image."""
ROLES = {
    "caption": "trained to write or fill in captions of images",
    "contrastive": "trained to tell which caption belongs to which image",
    **{
        f"{stage}_{control}": f"as {stage}, {words}"
        for stage in STAGES
        for control, words in {**CONTROLS, "null_image": "one constant image"}.items()
    },
    **{f"{stage}+{name}": f"as {stage}, and trained on {name}" for stage in STAGES for name in INTERMEDIATES},
}
"""Role -> what an arm with it does."""


def raises_scores(evidence: Evidence) -> Finding:
    """Q1: supported when a stage's difference from none is above 0 (after Holm over the kinds of stage); contradicted
    when each is below 0 or within half a point of it."""
    found = {role: _contrast(evidence, role, BASELINE) for role in _stages(evidence)}
    why = f"{'; '.join(f'{role} less none: {with_interval(one)}' for role, one in found.items())}; {basis(evidence)}"
    return decided(why, supported=bool(_above_zero(found)), contradicted=all(map(no_gain, found.values())))


def because_of_images(evidence: Evidence) -> Finding:
    """Q2: supported when a stage that raises the score (as in Q1) is above each of its three controls; contradicted
    when every such stage is below one of them, or within half a point of one. Nothing is said of a stage that is not
    shown to use its images, nor where a control of it is."""
    risen = _above_zero({role: _contrast(evidence, role, BASELINE) for role in _stages(evidence)})
    if not risen:
        raise UndecidedError("no image stage is shown to raise the score, so there is no rise to explain")
    words, explained, refuted = [], False, True
    for role in risen:
        found = {control: _contrast(evidence, role, f"{role}_{control}") for control in CONTROLS}
        words += [f"{role} less {control.replace('_', ' ')}: {with_interval(one)}" for control, one in found.items()]
        explained = explained or all(one.low > 0 for one in found.values())
        refuted = refuted and any(no_gain(one) for one in found.values())
    why = f"{'; '.join(words)}; {basis(evidence)}"
    if doubt := _doubts(evidence, risen):
        raise UndecidedError(f"{doubt}; {why}")
    return decided(why, supported=explained, contradicted=refuted)


def _doubts(evidence: Evidence, stages: Sequence[str]) -> str:
    """Why these stages' scores say nothing about images, in words; "" where they may."""
    used: Mapping[str, bool] = evidence.facts.get("images") or {}
    for role in stages:
        arm = evidence.need(role)
        if not used.get(arm, True):
            return f"{arm} is not shown to use its images"
        for control in CONTROLS:
            other = evidence.need(f"{role}_{control}")
            if used.get(other, False):
                return f"{other} uses images that it should know nothing of"
    return ""


def unchanged_inference(evidence: Evidence) -> Finding:
    """Q3: same weights' names and shapes, parameters and operations, and a ratio of times whose 95 % interval holds 1
    and reaches no further than 5 % from it."""
    require_real(evidence)
    found: Sequence[MeasuredInference] = evidence.facts.get("inference") or ()
    measured = {one.arm: one for one in found}
    none = evidence.need(BASELINE)
    arms = [arm for role in STAGES if (arm := evidence.arm(role)) is not None]
    lacking = [arm for arm in (none, *arms) if arm not in measured]
    if not arms or lacking:
        raise UndecidedError(f"inference was not measured for {lacking[0] if lacking else 'any image stage'}")
    plain = measured[none]
    words, differs, wide = [], False, False
    for arm in arms:
        one = measured[arm]
        if (one.keys, one.parameters, one.flops) != (plain.keys, plain.parameters, plain.flops):
            what = f"{one.parameters:,} parameters and {one.flops:.4g} operations, {plain.parameters:,} and "
            other = " and other weights" if one.keys != plain.keys else ""
            return Finding("contradicted", f"{arm} has {what}{plain.flops:.4g} without it{other}")
        ratio = time_ratio(one, len(arms))
        if ratio is None:
            raise UndecidedError(f"{arm} has {len(one.seconds)} rounds, and {FEWEST_ROUNDS} paired ones are needed")
        between = f"{ratio.low:.3f} to {ratio.high:.3f}"
        words.append(f"{arm}: the same weights' names, shapes and operations, {between} times the time")
        differs = differs or not ratio.low <= 1 <= ratio.high
        wide = wide or too_wide(ratio)
    why = "; ".join(words)
    if differs:
        return Finding("contradicted", why)
    if wide:
        raise UndecidedError(f"{why}: too wide to tell")
    return Finding("supported", why)


def with_text(evidence: Evidence) -> Finding:
    """Q4: supported when a stage with text training is above the text training alone (adds), or the stage alone is
    shown to be less than half a point below it (replaces), each after Holm; contradicted when nothing adds and every
    stage alone is below."""
    _stages(evidence)
    adds, replaces = {}, {}
    for stage in STAGES:
        for text in INTERMEDIATES:
            if evidence.arm(text) is not None and evidence.arm(f"{stage}+{text}") is not None:
                adds[f"{stage}+{text} less {text}"] = _contrast(evidence, f"{stage}+{text}", text)
                if evidence.arm(stage) is not None:
                    replaces[f"{stage} less {text}"] = _contrast(evidence, stage, text)
    if not adds:
        raise UndecidedError("no arm joins an image stage and a text task that also has an arm of its own")
    why = f"{'; '.join(f'{name}: {with_interval(one)}' for name, one in (adds | replaces).items())}; {basis(evidence)}"
    replaced = holm({name: one.p_above(-MARGIN) for name, one in replaces.items()})
    ways = ["adds"] if _above_zero(adds) else []
    ways += ["replaces"] if any(p_value < ALPHA for p_value in replaced.values()) else []
    worse = all(map(no_gain, adds.values())) and all(one.high < 0 for one in replaces.values())
    return decided(f"it {' and '.join(ways)}: {why}" if ways else why, supported=bool(ways), contradicted=worse)


def _stages(evidence: Evidence) -> list[str]:
    """Roles of the image stages that have an arm and all their controls."""
    stages = [role for role in STAGES if evidence.arm(role) is not None]
    if not stages:
        raise UndecidedError("no arm trains on captions with their images")
    for role in stages:
        for control in CONTROLS:
            evidence.need(f"{role}_{control}")
    return stages


def _contrast(evidence: Evidence, role: str, other: str) -> Estimate:
    pair = (everywhere(evidence.need(role)), everywhere(evidence.need(other)))
    return arm_difference(evidence, [pair], seeds=SEEDS, english=False)


def _above_zero(found: Mapping[str, Estimate]) -> list[str]:
    """Names of the differences above 0, after Holm."""
    corrected = holm({name: one.p_value for name, one in found.items()})
    return [name for name, one in found.items() if one.mean > 0 and corrected[name] < ALPHA]


_RUNS = "all nine targets, the controls, 9 seeds"


CLAIMS = (
    Claim(
        "Q1",
        "Training on captioned images first raises the XTREME average over no intermediate training",
        "primary contrast: macro average over tasks without English",
        raises_scores,
        _RUNS,
        source="open",
        provenance="open",
    ),
    Claim(
        "Q2",
        "It does so because of what is in the images",
        "contrasts with text only, shuffled and permuted images",
        because_of_images,
        _RUNS,
        source="open",
        provenance="open",
    ),
    Claim(
        "Q3",
        "It leaves the cost of inference unchanged",
        "equal weights, parameters and operations; interval of the ratio of times holds 1",
        unchanged_inference,
        "20 paired rounds of measured inference",
        source="open",
        provenance="open",
    ),
    Claim(
        "Q4",
        "It adds to intermediate training on text, or replaces it",
        "both together against text alone; images alone against text alone",
        with_text,
        _RUNS,
        source="open",
        provenance="open",
    ),
)
