"""The open questions about image stages: supported, contradicted, undecided, and the controls that they need."""

from __future__ import annotations

import random

import pytest
from claim_records import about, compared, results, said, verdict, verdict_of

from viaduct.metrics.speed import MeasuredInference
from viaduct.vision.claims import CONTROLS

CAPTIONS = ("none", "caption", *(f"caption_{control}" for control in CONTROLS))


def captions(gains, *, arms=CAPTIONS, wobble=0.0):
    run = about(arms, seeds=9, encoder="any")
    return run, results(run, gains, wobble=wobble)


def test_q1_captions():
    assert verdict("Q1", *captions({"caption": 0.02})) == "supported"
    assert verdict("Q1", *captions({"caption": -0.02})) == "contradicted"
    assert verdict("Q1", *captions({"caption": 0.0})) == "contradicted", "shown to be the same"
    assert verdict("Q1", *captions({"caption": 0.01}, wobble=0.1)) == "cannot tell"
    assert verdict("Q1", *captions({"caption": 0.02}, arms=CAPTIONS[:-1])) == "cannot tell", "a control is missing"
    eight = about(CAPTIONS, seeds=8, encoder="any")
    assert verdict_of("Q1", eight, results(eight, {"caption": 0.02})).why == "needs at least 9 seeds, has 8"


def test_q1_leaves_english_out():
    run, rows = captions({})
    raised = [row.model_copy(update={"value": row.value + 0.5}) if row.language == "en" else row for row in rows]
    assert verdict_of("Q1", run, rows).why == verdict_of("Q1", run, raised).why


def test_q2_because_of_images():
    assert verdict("Q2", *captions({"caption": 0.03})) == "supported"
    as_text = verdict_of("Q2", *captions({"caption": 0.03, "caption_text_only": 0.03}))
    assert as_text.verdict == "contradicted" and "caption minus caption_text_only" in as_text.why
    assert verdict("Q2", *captions({"caption": 0.03, "caption_shuffled_image": 0.05})) == "contradicted"
    run, rows = captions({"caption": 0.2, "caption_shuffled_image": 0.19})
    vague = [
        row.model_copy(update={"value": row.value + 0.1 * (-1) ** row.seed}) if row.arm.endswith("_image") else row
        for row in rows
    ]
    assert verdict("Q2", run, vague) == "cannot tell"
    assert "no rise to explain" in verdict_of("Q2", *captions({"caption": -0.02})).why


@pytest.mark.parametrize(
    ("used", "verdict_then", "words"),
    [
        ({"caption": True, "caption_shuffled_image": False}, "supported", "caption minus caption_text_only"),
        ({"caption": False}, "cannot tell", "caption is not shown to use its images"),
        ({"caption": True, "caption_shuffled_image": True}, "cannot tell", "caption_shuffled_image uses images"),
    ],
)
def test_q2_says_nothing_of_a_stage_that_is_not_shown_to_use_its_images(used, verdict_then, words):
    found = verdict_of("Q2", *captions({"caption": 0.03}), facts={"images": used})
    assert found.verdict == verdict_then and words in found.why


def timed(arm, *, factor=1.0, spread=0.01, rounds=30, keys="k", parameters=10):
    noise = random.Random(arm)
    seconds = tuple(factor * (1 + noise.gauss(0, spread)) for _ in range(rounds))
    against = tuple(1 + noise.gauss(0, spread) for _ in range(rounds))
    return MeasuredInference(arm, keys, parameters, 1e9, seconds, against)


def test_q3_inference():
    run = about(["none", "caption"])
    none = timed("none")

    def asked(*measured):
        return verdict("Q3", run, facts={"inference": measured})

    assert asked(none, timed("caption")) == "supported"
    assert asked(none, timed("caption", factor=1.2)) == "contradicted"
    assert asked(none, timed("caption", parameters=11)) == "contradicted"
    assert asked(none, timed("caption", keys="other")) == "contradicted"
    assert asked(none, timed("caption", spread=0.4)) == "cannot tell"
    assert asked(timed("none", rounds=5), timed("caption", rounds=5)) == "cannot tell"
    assert asked(none) == asked() == "cannot tell"
    generated = about(["none", "caption"], miniature=True)
    assert verdict("Q3", generated, facts={"inference": (none, timed("caption"))}) == "cannot tell"


WITH_TEXT = (*CAPTIONS, "mnli", "caption+mnli")


def test_q4_with_text():
    adds = verdict_of("Q4", *captions({"mnli": 0.03, "caption+mnli": 0.06}, arms=WITH_TEXT))
    assert adds.verdict == "supported" and adds.why.startswith("it adds: ")
    stands_in = verdict_of("Q4", *captions({"mnli": 0.03, "caption": 0.04, "caption+mnli": 0.02}, arms=WITH_TEXT))
    assert stands_in.verdict == "supported" and stands_in.why.startswith("it replaces: ")
    assert verdict("Q4", *captions({"mnli": 0.03, "caption+mnli": 0.02}, arms=WITH_TEXT)) == "contradicted"
    unclear = captions({"mnli": 0.03, "caption+mnli": 0.03}, arms=WITH_TEXT, wobble=0.9)
    assert verdict("Q4", *unclear) == "cannot tell"
    assert not verdict_of("Q4", *captions({"mnli": 0.03}, arms=WITH_TEXT[:-1])).applies


def test_q4_where_nothing_works_nothing_replaces_anything():
    assert verdict("Q4", *captions({}, arms=WITH_TEXT)) == "contradicted"
    harmful = {"mnli": -0.03, "caption": -0.02, "caption+mnli": -0.02}
    assert verdict("Q4", *captions(harmful, arms=WITH_TEXT)) != "supported", "less harm than the text's is no gain"
    vain = {"mnli": 0.0, "caption": 0.03, "caption+mnli": 0.0}
    assert verdict("Q4", *captions(vain, arms=WITH_TEXT)) != "supported", "there is nothing to replace"


def test_q4_is_decided_with_the_correction_of_the_page():
    """A stage as good as the text, known to a third of a point: enough for a single comparison, not among many."""
    few = captions(dict.fromkeys(WITH_TEXT[1:], 0.03), arms=WITH_TEXT)
    assert verdict("Q4", *few) == "supported"
    run, rows = few
    moved = [
        row.model_copy(update={"value": row.value + 0.006 * (-1) ** row.seed}) if row.arm == "caption" else row
        for row in rows
    ]
    one = compared(run, moved).of("caption", against="mnli")
    alone = one.estimate.p_above(-0.005)
    assert alone < 0.05 < one.decision.comparisons * alone
    assert verdict("Q4", run, moved) == "cannot tell"


@pytest.mark.parametrize("seed", range(4))
def test_no_question_is_supported_in_a_world_without_effects(seed):
    arms = (*WITH_TEXT, "squad", "caption+squad")
    run = about(arms, seeds=9, encoder="any")
    noise = random.Random(seed)
    chance = {(arm, task, own): noise.gauss(0, 0.01) for arm in arms for task in run.tasks for own in run.seeds}
    rows = [
        row.model_copy(update={"value": row.value + chance[row.arm, row.task, row.seed]}) for row in results(run, {})
    ]
    found = said(run, rows)
    assert not {name for name in ("Q1", "Q2", "Q4") if found[name].verdict == "supported"}
