"""The open questions about image stages and the rules that decide them, fixed before any run.

All contrasts are the page's, with its correction: means over the nine tasks of the mean over their languages without
English. "Higher" and "lower" are its verdicts; an arm gains nothing if it is lower, or shown to be less than half a
point above. A run needs the controls alongside the stage, and nine seeds: each seed draws both the stage and the
fine-tuning anew, so nine are worth no less than three stage seeds with three fine-tuning seeds each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viaduct.metrics.speed import FEWEST_ROUNDS, MeasuredInference, speed, time_ratio
from viaduct.metrics.verdict import ALPHA, MARGIN
from viaduct.report.contrast import Contrast
from viaduct.report.evidence import (
    Arms,
    Claim,
    Evidence,
    Finding,
    Pairs,
    Rule,
    UndecidedError,
    UnrelatedError,
    basis,
    decided,
    no_pairs,
    require_real,
    with_intervals,
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
"""Control that every image stage needs alongside it -> what it shows as the image."""
ROLES = {
    "caption": "trained to write or fill in captions of images",
    "contrastive": "trained to tell which caption belongs to which image",
    **{
        f"{stage}_{control}": f"like {stage}, {words}"
        for stage in STAGES
        for control, words in {**CONTROLS, "null_image": "one constant image"}.items()
    },
    **{f"{stage}+{name}": f"like {stage}, and also trained on {name}" for stage in STAGES for name in INTERMEDIATES},
}
"""Role -> what an arm with this role does."""


def raises_scores(evidence: Evidence) -> Finding:
    """Q1: supported if a stage is higher than the baseline; contradicted if every stage is shown to gain nothing."""
    found = {role: _contrast(evidence, role, BASELINE) for role in _stages(evidence)}
    why = f"{with_intervals(found.values())}; {basis(evidence)}"
    return decided(why, supported=bool(_higher(found)), contradicted=all(map(evidence.no_gain, found.values())))


def control_pairs(arms: Arms) -> Sequence[tuple[str, str]]:
    """Each stage against its controls."""
    asked = [(role, f"{role}_{control}") for role in STAGES for control in CONTROLS]
    return [(arms[role], arms[other]) for role, other in asked if role in arms and other in arms]


def because_of_images(evidence: Evidence) -> Finding:
    """Q2: supported if a stage that raises the score (as in Q1) is higher than each of its three controls; contradicted
    if every such stage gains nothing over at least one of them. Undecided if one such stage is not shown to use its
    images, or if one of its controls is."""
    risen = _higher({role: _contrast(evidence, role, BASELINE) for role in _stages(evidence)})
    if not risen:
        raise UndecidedError("no image stage is shown to raise the score, so there is no rise to explain")
    words, explained, refuted = [], False, True
    for role in risen:
        found = [_contrast(evidence, role, f"{role}_{control}") for control in CONTROLS]
        words.append(with_intervals(found))
        explained = explained or all(one.verdict == "higher" for one in found)
        refuted = refuted and any(map(evidence.no_gain, found))
    why = f"{'; '.join(words)}; {basis(evidence)}"
    if doubt := _doubts(evidence, risen):
        raise UndecidedError(f"{doubt}; {why}")
    return decided(why, supported=explained, contradicted=refuted)


def _doubts(evidence: Evidence, stages: Sequence[str]) -> str:
    """Why these stages' scores say nothing about images, in words; "" if there is no such reason."""
    used: Mapping[str, bool] = evidence.facts.get("images") or {}
    for role in stages:
        arm = evidence.need(role)
        if not used.get(arm, True):
            return f"{arm} is not shown to use its images"
        for control in CONTROLS:
            other = evidence.need(f"{role}_{control}")
            if used.get(other, False):
                return f"{other} uses images that it should know nothing about"
    return ""


def unchanged_inference(evidence: Evidence) -> Finding:
    """Q3: equal names and shapes of weights, equal parameters and operations, an unchanged time (`metrics.speed`)."""
    arms = [evidence.arms[role] for role in _image_roles(evidence)]
    none = evidence.need(BASELINE)
    require_real(evidence)
    found: Sequence[MeasuredInference] = evidence.facts.get("inference") or ()
    measured = {one.arm: one for one in found}
    lacking = [arm for arm in (none, *arms) if arm not in measured]
    if lacking:
        raise UndecidedError(f"inference was not measured for {lacking[0]}")
    plain = measured[none]
    words, verdicts = [], set()
    for arm in arms:
        one = measured[arm]
        if (one.keys, one.parameters, one.flops) != (plain.keys, plain.parameters, plain.flops):
            what = f"{one.parameters:,} parameters and {one.flops:.4g} operations, {plain.parameters:,} and "
            other = " and other weights" if one.keys != plain.keys else ""
            return Finding("contradicted", f"{arm} has {what}{plain.flops:.4g} without it{other}")
        ratio = time_ratio(one, len(arms))
        if ratio is None:
            raise UndecidedError(f"{arm} has {len(one.seconds)} rounds, and {FEWEST_ROUNDS} paired rounds are needed")
        between = f"{ratio.low:.3f} to {ratio.high:.3f}"
        words.append(f"{arm}: the same weight names, weight shapes and operations, {between} times the time")
        verdicts.add(speed(ratio))
    why = "; ".join(words)
    if verdicts & {"faster", "slower"}:
        return Finding("contradicted", why)
    if "cannot tell" in verdicts:
        raise UndecidedError(f"{why}: too wide to tell")
    return Finding("supported", why)


def text_pairs(arms: Arms) -> Sequence[tuple[str, str]]:
    """Each stage, alone and with a text task, against the text task alone."""
    return [(arms[role], arms[text]) for stage, text in _joined(arms) for role in (f"{stage}+{text}", stage)]


def with_text(evidence: Evidence) -> Finding:
    """Q4, for every stage and text task with an arm each and one for both. *Adds*: both together are higher than the
    text alone, and than the baseline. *Replaces*: the text alone and the stage alone are higher than the baseline, and
    the stage is shown to be less than half a point below the text. Contradicted if no pair together gains anything over
    the text, and every stage alone is lower than the text or gains nothing over the baseline."""
    _stages(evidence)
    joined = _joined(evidence.arms)
    if not joined:
        raise UnrelatedError("no arm combines an image stage and a text task that also have arms of their own")
    ways, words, refuted = set(), [], True
    for stage, text in joined:
        both = f"{stage}+{text}"
        added, instead = _contrast(evidence, both, text), _contrast(evidence, stage, text)
        alone = {role: _contrast(evidence, role, BASELINE) for role in (stage, text, both)}
        up = _higher(alone)
        if added.verdict == "higher" and both in up:
            ways.add("adds")
        if {stage, text} <= set(up) and evidence.p_more(instead, -MARGIN) < ALPHA:
            ways.add("replaces")
        useless = instead.verdict == "lower" or evidence.no_gain(alone[stage])
        refuted = refuted and evidence.no_gain(added) and useless
        words.append(with_intervals((added, instead, *alone.values())))
    why = f"{'; '.join(words)}; {basis(evidence)}"
    return decided(
        f"it {' and '.join(sorted(ways))}: {why}" if ways else why, supported=bool(ways), contradicted=refuted
    )


def _joined(arms: Arms) -> list[tuple[str, str]]:
    """(stage, text task) pairs that have an arm each, and one for both together."""
    asked = [(stage, text) for stage in STAGES for text in INTERMEDIATES]
    return [(stage, text) for stage, text in asked if {stage, text, f"{stage}+{text}"} <= arms.keys()]


def _image_roles(evidence: Evidence) -> list[str]:
    """Roles of the image stages that have an arm."""
    stages = [role for role in STAGES if role in evidence.arms]
    if not stages:
        raise UnrelatedError("no arm trains on captions with their images")
    return stages


def _stages(evidence: Evidence) -> list[str]:
    """Roles of the image stages that have an arm. Raises UndecidedError if one lacks any of its controls."""
    stages = _image_roles(evidence)
    lacking = [f"{role}_{name}" for role in stages for name in CONTROLS if f"{role}_{name}" not in evidence.arms]
    if lacking:
        raise UndecidedError(f"no arm has the role '{lacking[0]}' ({evidence.known_roles[lacking[0]]})")
    return stages


def _contrast(evidence: Evidence, role: str, other: str) -> Contrast:
    return evidence.contrast(evidence.need(role), evidence.need(other), seeds=SEEDS)


def _higher(found: Mapping[str, Contrast]) -> list[str]:
    """Names of the contrasts whose verdict is "higher"."""
    return [name for name, one in found.items() if one.verdict == "higher"]


_RUNS = "all nine targets, the controls, 9 seeds"


def _open(name: str, text: str, decided_by: str, rule: Rule, needs: str, pairs: Pairs = no_pairs) -> Claim:
    """A claim for a question that nobody has answered yet."""
    return Claim(name, text, decided_by, rule, needs, "effect", "open", "open", pairs)


CLAIMS = (
    _open(
        "Q1",
        "Training on captioned images first raises the XTREME average above that without intermediate training",
        "primary contrast: macro average over tasks without English",
        raises_scores,
        _RUNS,
    ),
    _open(
        "Q2",
        "It does so because of what is in the images",
        "contrasts with text only, shuffled and permuted images",
        because_of_images,
        _RUNS,
        control_pairs,
    ),
    _open(
        "Q3",
        "It leaves the cost of inference unchanged",
        "equal weights, parameters and operations; interval of the ratio of times within 5 % of 1",
        unchanged_inference,
        "20 paired rounds of measured inference",
    ),
    _open(
        "Q4",
        "It adds to intermediate training on text, or replaces it",
        "both together against text alone; images alone against text alone, where each helps",
        with_text,
        _RUNS,
        text_pairs,
    ),
)
