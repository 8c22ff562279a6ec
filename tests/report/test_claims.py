"""What a run says about each claim: supported, contradicted, not decided; and never decided by a part of a run."""

from __future__ import annotations

import json

import pytest
from claim_records import about, compared, results, said, verdict, verdict_of
from report_records import make_run

from viaduct.errors import DataError, UsageError
from viaduct.report import claims
from viaduct.report.contrast import Contrasts
from viaduct.report.contrasts import contrasts
from viaduct.report.page import write
from viaduct.results.xtreme import INTERMEDIATES, TARGETS

SIX = ("mnli", "squad2", "hellaswag", "qqp", "cosmosqa", "commonsenseqa")


# the table


def test_the_table_has_every_claim_once_in_order_and_in_full():
    gone = {3, 12, 15, 18, 19}
    ids = [f"C{number:02d}" for number in range(1, 26) if number not in gone] + [
        "Q1",
        "Q2",
        "Q3",
        "Q4",
        "F1",
        "F2",
        "F3",
        "F4",
    ]
    assert [claim.id for claim in claims.claims()] == ids
    for claim in claims.claims():
        assert all((claim.text, claim.source, claim.decided_by, claim.needs, claim.origin)), claim.id
        assert (claim.provenance == "open") == (claim.id.startswith("Q") or claim.id == "F4")


def test_without_results_no_claim_about_effects_is_decided_and_each_says_what_is_missing():
    for line in said(about(["none", "mnli"])).values():
        assert line.why, line.claim.id
        if line.claim.kind == "effect":
            assert line.verdict == "cannot tell", line.claim.id


def test_a_claim_that_is_not_about_such_a_run_is_kept_and_not_listed():
    run = about(["none", "mnli"], encoder="tiny", details={"layers": "2"})
    found = claims.judge(run, results(run, {}), compared(run, results(run, {})))
    listed = {line.claim.id for line in found.listed}
    assert {"C01", "C02", "C08"} <= listed and not {"C05", "C13", "C24", "Q1"} & listed
    assert len(found.lines) == len(claims.claims())
    assert found.left_out.startswith(f"{len(found.lines) - len(listed)} claims left out as not applicable to such a")
    assert "C05 (the number is for XLM-R large, and this run uses tiny)" in found.left_out
    assert "Q1, Q2, Q3, Q4 (no arm trains on captions with their images)" in found.left_out
    assert claims.Judged(found.listed).left_out == ""
    assert {line.dumped()["applies"] for line in found.lines} == {True, False}


def test_claims_say_which_pairs_they_need_compared():
    given = ["none", "mnli", "squad", "squad2", "hellaswag", "qqp", "ccg", "cosmosqa", "mnli+replay", "qqp_translated"]
    found = claims.pairs({arm: arm for arm in given})
    assert {("mnli", "mnli+replay"), ("qqp", "qqp_translated"), ("hellaswag", "ccg")} <= set(found)
    assert ("squad2", "qqp") in found and ("squad", "qqp") not in found
    assert len(found) == len(set(found)) == 2 + 3 * 3
    images = ["caption", "caption_text_only", "mnli", "caption+mnli"]
    expected = {("caption", "caption_text_only"), ("caption+mnli", "mnli"), ("caption", "mnli")}
    assert set(claims.pairs({arm: arm for arm in images})) == expected
    assert claims.pairs({"plain": "none", "a": "mnli"}) == (("a", "plain"),)
    assert claims.pairs({}) == ()


# gains of single arms


@pytest.mark.parametrize(
    ("claim", "role", "claimed"), [("C04", "squad2", 0.082), ("C05", "mnli", 0.075), ("C06", "hellaswag", 0.07)]
)
def test_c04_to_c06_gains(claim, role, claimed):
    run = about(["none", role])
    assert verdict(claim, run, results(run, {role: claimed})) == "supported"
    assert verdict(claim, run, results(run, {role: claimed + 0.01})) == "supported", "published numbers err too"
    assert verdict(claim, run, results(run, {role: claimed + 0.015})) == "cannot tell", "at the end of the band"
    less = verdict_of(claim, run, results(run, {role: 0.03}))
    assert less.verdict == "contradicted"
    assert less.why.startswith(f"{role}: +3.0 points (95 % interval +")
    assert f"{100 * claimed:+.1f} claimed" in less.why and "test of xnli" in less.why
    assert verdict(claim, run, results(run, {role: claimed}, wobble=0.1)) == "cannot tell"


def test_an_interval_that_is_wider_than_the_band_bears_out_no_number():
    """However well its middle agrees, and though it lies above 0."""
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075}, wobble=0.008)
    found = compared(run, rows).of("mnli")
    assert found.estimate.interval[0] > 0 and found.verdict == "higher"
    assert found.estimate.interval[0] < 0.06 and found.estimate.interval[1] > 0.09
    assert verdict("C05", run, rows) == "cannot tell"


def test_a_gain_is_decided_with_the_correction_of_the_page():
    alone = about(["none", "mnli"])
    many = about(["none", "mnli", *(f"arm{number}" for number in range(30))])
    gain = {"mnli": 0.075 + 0.011}
    for run, expected in ((alone, "supported"), (many, "cannot tell")):
        rows = results(run, gain, noise=0.004)
        low, high = compared(run, rows).of("mnli").estimate.interval
        assert low > 0.06 and high < 0.09, "the interval does not know of other arms"
        assert verdict("C05", run, rows) == expected


def test_c07_all_nine_together():
    run = about(["none", "together"])
    rows = results(run, {"together": 0.087})
    assert verdict("C07", run, rows) == "cannot tell"
    assert verdict("C07", run, rows, roles={"none": "none", "together": "all_nine"}) == "supported"


def test_c04_takes_squad_1_where_2_is_not_there():
    run = about(["none", "squad"])
    assert verdict_of("C04", run, results(run, {"squad": 0.082})).why.startswith("squad: ")


def test_a_question_counts_the_mean_of_f1_and_exact_match_and_a_task_counts_once():
    run = about(["none", "mnli"])
    rows = [
        row.model_copy(update={"value": row.value + 0.9 * (row.metric == "exact_match")})
        if row.arm == "mnli" and row.task == "mlqa"
        else row
        for row in results(run, {}, noise=1e-5)
    ]
    assert "+5.0 points" in verdict_of("C05", run, rows).why  # 0.9 / 2 metrics / 9 tasks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 2}, "needs at least 3 seeds, has 2"),
        ({"encoder": "xlmr-base", "details": {"layers": "12"}}, "this run uses xlmr-base"),
        ({"miniature": True}, "generated"),
        ({"substituted": "xnli"}, "stand in for xnli test"),
        ({"tasks": TARGETS[:-1]}, "mnli and none have no results in common on tatoeba"),
        ({"tasks": (*TARGETS, "xcopa")}, "the mean also covers tasks that the claim does not: xcopa"),
    ],
)
def test_parts_of_a_run_decide_nothing(change, words):
    run = about(["none", "mnli"], **change)
    found = verdict_of("C05", run, results(run, {"mnli": 0.075}))
    assert found.verdict == "cannot tell"
    assert words in found.why, found.why


@pytest.mark.parametrize("arm", ["none", "mnli"])
def test_one_missing_language_of_one_seed_decides_nothing(arm):
    run = about(["none", "mnli"])
    found = verdict_of("C05", run, results(run, {"mnli": 0.075}, absent=(arm, "panx", "yo", 2)))
    assert found[1:3] == ("cannot tell", "mnli or none has no complete result for seed 2")
    never = [row for row in results(run, {"mnli": 0.075}) if (row.arm, row.language) != (arm, "yo")]
    assert verdict_of("C05", run, never).why == "mnli and none have no results in common on udpos in yo"


def test_what_the_page_gives_no_verdict_on_decides_nothing():
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075})
    plain = contrasts(run, rows)
    found = verdict_of("C05", run, rows, contrasts=plain)
    assert found.verdict == "cannot tell" and "no outcomes by example" in found.why
    assert verdict_of("C05", run, rows, contrasts=Contrasts()).why == "results of mnli and none are not compared"


def test_results_of_another_definition_or_split_decide_nothing():
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075})
    mixed = [row.model_copy(update={"split": "dev"}) if row.arm == "none" else row for row in rows]
    with pytest.raises(DataError, match=r"results that cannot be compared \(split"):
        verdict_of("C05", run, mixed)
    replaced = [row.model_copy(update={"substitution": "test := dev"}) for row in rows]
    assert "stands in" in verdict_of("C05", run, replaced).why


def test_what_the_encoder_has_seen_before_decides_nothing():
    run = about(["none", "mnli", "qqp"])
    rows = results(run, {"mnli": 0.075, "qqp": 0.03})
    found = verdict_of("C05", run.model_copy(update={"seen_arms": {"mnli": "nli"}}), rows)
    assert found[1:3] == (
        "cannot tell",
        f"{run.encoder} had already been trained on nli, so mnli is not a first exposure",
    )
    found = verdict_of("C05", run.model_copy(update={"seen_tasks": {"xnli": "nli"}}), rows)
    assert found[1:3] == (
        "cannot tell",
        f"{run.encoder} had already been trained on nli, so xnli is not a first exposure",
    )


def test_what_was_chosen_on_scored_rows_or_leaked_decides_nothing():
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075})
    assert verdict_of("C05", run, rows).verdict == "supported"
    chosen = [row.model_copy(update={"chosen_on_scored": row.task == "bucc"}) for row in rows]
    found = verdict_of("C05", run, chosen)
    assert (found.verdict, found.why) == (
        "cannot tell", "a checkpoint, layer or threshold of bucc was chosen on rows that are scored",
    )  # fmt: skip
    leaked = verdict_of("C05", run.model_copy(update={"leaks": ("rows of a are also in b",)}), rows)
    assert (leaked.verdict, leaked.why) == ("cannot tell", "some evaluated rows were also trained on")


def test_an_untrained_baseline_has_one_result_for_every_seed():
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075})
    once = [row for row in rows if not (row.arm == "none" and row.selection == "untrained" and row.seed > 1)]
    assert verdict("C05", run, once) == "supported"
    trained = [row for row in rows if not (row.arm == "none" and row.task == "xnli" and row.seed > 1)]
    assert verdict("C05", run, trained) == "cannot tell"


# claims about several intermediate tasks


def several(gain, task, *, arms=SIX, wobble=0.0, odd=None):
    """A run of six intermediate tasks that gain this on these targets; `odd`: (arm, its own gain)."""
    run = about(["none", *arms], tasks=task)
    gains = {arm: dict.fromkeys(task, gain) for arm in arms}
    if odd is not None:
        gains[odd[0]] = dict.fromkeys(task, odd[1])
    return run, results(run, gains, wobble=wobble)


def test_c08_retrieval():
    both = ("bucc", "tatoeba")
    assert verdict("C08", *several(0.15, both)) == "supported"
    assert verdict("C08", *several(0.15, both, odd=("qqp", -0.1))) == "supported", "five of six is almost every"
    assert verdict("C08", *several(0.02, both)) == "contradicted", "a gain, and no dramatic one"
    assert verdict("C08", *several(0.0505, both, wobble=0.01)) == "cannot tell", "5 points have to be shown"
    assert verdict("C08", *several(0.06, both, wobble=0.1)) == "cannot tell"
    assert verdict("C08", *several(0.15, both, arms=SIX[:5])) == "cannot tell"
    assert verdict("C08", *several(0.15, ("bucc",))) == "cannot tell"


def test_c10_tydiqa():
    assert verdict("C10", *several(0.04, ("tydiqa",))) == "supported"
    assert verdict("C10", *several(-0.01, ("tydiqa",))) == "contradicted"
    assert verdict("C10", *several(0.01, ("tydiqa",), wobble=0.05)) == "cannot tell"
    assert verdict("C10", *several(0.04, ("tydiqa",), arms=SIX[:5])) == "cannot tell"


def test_c11_xnli():
    flat = verdict_of("C11", *several(0.0, ("xnli",)))
    assert flat.verdict == "supported" and "6 of them equivalent" in flat.why
    harmed = verdict_of("C11", *several(0.0, ("xnli",), odd=("qqp", -0.05)))
    assert harmed.verdict == "supported" and "5 of them equivalent" in harmed.why, "what harms XNLI is no gain"
    assert verdict("C11", *several(0.0, ("xnli",), odd=("qqp", 0.03))) == "contradicted"
    assert verdict("C11", *several(0.0, ("xnli",), wobble=0.03)) == "cannot tell"
    assert verdict("C11", *several(0.0, ("xnli",), arms=SIX[:5])) == "cannot tell"


def test_c11_says_nothing_where_all_are_at_their_ends():
    run, rows = several(0.0, ("xnli",))
    top = [row.model_copy(update={"value": row.value + 0.498}) for row in rows]
    assert verdict("C11", run, top) == "cannot tell"


VARIANTS = [("C13", "C21", "{}+replay"), ("C14", "C22", "{}_translated")]


@pytest.mark.parametrize(("beats", "consistently", "variant"), VARIANTS)
def test_plain_training_against_a_variant(beats, consistently, variant):
    arms = ["none", "mnli", "squad", *(variant.format(name) for name in ("mnli", "squad"))]
    run = about(arms)
    plain = {"mnli": 0.05, "squad": 0.04}
    other = {variant.format(name): 0.05 for name in plain}
    one = {"mnli": 0.05, variant.format("squad"): 0.05}

    def both(rows):
        return verdict(beats, run, rows), verdict(consistently, run, rows)

    assert both(results(run, plain)) == ("supported", "supported")
    assert both(results(run, {})) == ("contradicted", "supported"), "shown to be the same"
    assert both(results(run, other)) == ("contradicted", "contradicted"), "better for both"
    assert both(results(run, one)) == ("cannot tell", "supported"), "better for one and worse for the other"
    assert both(results(run, plain, wobble=0.9)) == ("cannot tell", "cannot tell")
    lone = about([*arms[:2], variant.format("mnli")])
    found = verdict(consistently, lone, results(lone, {variant.format("mnli"): 0.05}))
    assert found == "cannot tell", "one task is no consistency"
    assert not verdict_of(beats, about(["none", "mnli"])).applies


def test_who_says_what_is_kept_apart():
    found = {claim.id: claim for claim in claims.claims()}
    assert "synthesis" in found["C13"].source and "more strongly than the source" in found["C14"].origin
    assert found["C21"].source == found["C22"].source == "arXiv 2005.13013"
    assert "consistently" in found["C21"].text and found["C22"].provenance == "read"
    assert (found["C04"].cited, found["C04"].origin) == (None, "unverified"), "no source beside an unverified number"


def test_c23_answers():
    tasks = ("xquad", "mlqa", "tydiqa")
    assert verdict("C23", *several(0.02, tasks)) == "supported"
    assert verdict("C23", *several(0.02, tasks, odd=("qqp", -0.1))) == "supported", "five of six"
    assert verdict("C23", *several(0.12, tasks)) == "contradicted", "dramatic"
    assert verdict("C23", *several(0.0, tasks)) == "contradicted"
    assert verdict("C23", *several(0.02, tasks, wobble=0.1)) == "cannot tell"
    assert verdict("C23", *several(0.02, tasks[:2])) == "cannot tell"


def test_c24_best_overall():
    run = about(["none", *SIX])
    best = dict.fromkeys(("mnli", "squad2", "hellaswag"), 0.06)
    assert verdict("C24", run, results(run, best)) == "supported"
    better = verdict_of("C24", run, results(run, best | {"qqp": 0.08}))
    assert better.verdict == "contradicted" and "mnli than qqp" in better.why
    assert verdict("C24", run, results(run, {})) == "cannot tell"
    few = about(["none", *SIX[:5]])
    assert not verdict_of("C24", few, results(few, best)).applies


def test_c25_is_decided_in_english():
    run = about(["none", *SIX])
    found = verdict_of("C25", run, results(run, dict.fromkeys(SIX, 0.03)))
    assert found.verdict == "supported" and "6 of 6 gain" in found.why and "qqp +3.0, squad2 +3.1, " in found.why
    assert verdict("C25", run, results(run, dict.fromkeys(SIX, 0.0))) == "contradicted"
    abroad = [row for row in results(run, dict.fromkeys(SIX, 0.03)) if row.language != "en"]
    assert verdict("C25", run, abroad) == "cannot tell"


# roles


def test_arms_named_like_roles_have_them_and_others_are_told():
    run = about(["none", "first"])
    rows = results(run, {"first": 0.075})
    assert verdict("C05", run, rows) == "cannot tell"
    assert verdict("C05", run, rows, roles={"none": "none", "first": "mnli"}) == "supported"


def test_roles_are_checked():
    run = about(["none", "first", "second"])
    with pytest.raises(UsageError, match=r"unknown role 'mlni'\. Did you mean 'mnli'"):
        said(run, roles={"first": "mlni"})
    with pytest.raises(UsageError, match="unknown arm 'frist'"):
        said(run, roles={"frist": "mnli"})
    with pytest.raises(UsageError, match="first, second all have the role 'mnli'"):
        said(run, roles={"first": "mnli", "second": "mnli"})


def test_every_role_is_described():
    roles = claims.roles()
    assert {"none", "replay", "all_nine", "caption_null_image", "contrastive+squad", "mnli_translated"} <= roles.keys()
    assert set(INTERMEDIATES) <= roles.keys() and all(roles.values())


# the page


def test_the_page_shows_every_claim_where_arms_have_roles(tmp_path):
    run = make_run(arms=("none", "first"), tasks=("xnli", "bucc"), seeds=(1, 2))
    about_roles = run.about.model_copy(update={"roles": {"none": "none", "first": "mnli"}})
    html = write(about_roles, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    section = html[html.index('<h2 id="claims">') : html.index('<h2 id="cost">')]
    assert "first (trained on mnli in English)" in section
    written = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert list(written) == [claim.id for claim in claims.claims()]
    assert written["C02"]["verdict"] == "not as in the source" and "2 of the nine targets" in written["C02"]["why"]
    shown = {name for name, one in written.items() if one["applies"]}
    assert all((f'<th scope="row">{name}</th>' in section) == (name in shown) for name in written)
    assert "claims left out" in section and "not to be cited" not in section
    assert written["C05"]["source"] is None and written["C01"]["source"] == "arXiv 2005.13013"
    plain = write(run.about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert "#claims" not in plain
