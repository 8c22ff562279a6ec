"""What a run says about each claim: supported, contradicted, not decided; and never decided by a part of a run."""

from __future__ import annotations

import json

import pytest
from claim_records import about, cards, results, said, verdict, verdict_of
from report_records import make_run

from viaduct.errors import DataError, UsageError
from viaduct.report import claims
from viaduct.report.page import write
from viaduct.results.xtreme import INTERMEDIATES, TARGETS

SIX = ("mnli", "squad2", "hellaswag", "qqp", "cosmosqa", "commonsenseqa")


# the table


def test_the_table_has_every_claim_once_in_order_and_in_full():
    ids = [f"C{number:02d}" for number in range(1, 21)] + ["Q1", "Q2", "Q3", "Q4"]
    assert [claim.id for claim in claims.claims()] == ids
    for claim in claims.claims():
        assert all((claim.text, claim.source, claim.decided_by, claim.needs)), claim.id
        assert (claim.provenance == "open") == claim.id.startswith("Q")


def test_without_results_no_claim_about_effects_is_decided_and_each_says_what_is_missing():
    for line in said(about(["none", "mnli"])).values():
        assert line.why, line.claim.id
        if line.claim.kind == "effect":
            assert line.verdict == "cannot tell", line.claim.id


# gains of single arms


@pytest.mark.parametrize(
    ("claim", "role", "claimed"), [("C04", "squad2", 0.082), ("C05", "mnli", 0.075), ("C06", "hellaswag", 0.07)]
)
def test_c04_to_c06_gains(claim, role, claimed):
    run = about(["none", role])
    assert verdict(claim, run, results(run, {role: claimed})) == "supported"
    assert verdict(claim, run, results(run, {role: claimed + 0.004})) == "supported", "published numbers err too"
    less = verdict_of(claim, run, results(run, {role: 0.03}))
    assert less.verdict == "contradicted"
    assert less.why.startswith(f"{role}: +3.0 points (95 % interval +")
    assert f"{100 * claimed:+.1f} claimed" in less.why and "test of xnli" in less.why
    assert verdict(claim, run, results(run, {role: claimed}, wobble=0.1)) == "cannot tell"


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
        ({"seeds": 2}, "2 of at least 3 seeds"),
        ({"encoder": "xlmr-base", "details": {"layers": "12"}}, "this run is of xlmr-base"),
        ({"miniature": True}, "generated"),
        ({"substituted": "xnli"}, "stand in for xnli test"),
        ({"tasks": TARGETS[:-1]}, "none has no result on tatoeba|mnli has no result on tatoeba"),
    ],
)
def test_parts_of_a_run_decide_nothing(change, words):
    run = about(["none", "mnli"], **change)
    found = verdict_of("C05", run, results(run, {"mnli": 0.075}))
    assert found.verdict == "cannot tell"
    assert any(one in found.why for one in words.split("|")), found.why


@pytest.mark.parametrize("arm", ["none", "mnli"])
def test_one_missing_language_of_one_seed_decides_nothing(arm):
    run = about(["none", "mnli"])
    found = verdict_of("C05", run, results(run, {"mnli": 0.075}, absent=(arm, "panx", "yo", 2)))
    assert found[1:] == ("cannot tell", f"{arm} has no result on panx in yo, seed 2")


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
    assert found[1:] == ("cannot tell", f"{run.encoder} had been trained on nli before mnli")
    found = verdict_of("C05", run.model_copy(update={"seen_tasks": {"xnli": "nli"}}), rows)
    assert found[1:] == ("cannot tell", f"{run.encoder} had been trained on nli before xnli")


def test_what_was_chosen_on_scored_rows_or_leaked_decides_nothing():
    run = about(["none", "mnli"])
    rows = results(run, {"mnli": 0.075})
    assert verdict_of("C05", run, rows).verdict == "supported"
    chosen = [row.model_copy(update={"chosen_on_scored": row.task == "bucc"}) for row in rows]
    found = verdict_of("C05", run, chosen)
    assert (found.verdict, found.why) == (
        "cannot tell", "a checkpoint, layer or threshold of bucc was chosen on rows that are scored",
    )  # fmt: skip
    leaked = verdict_of("C05", run.model_copy(update={"leaks": ("rows of a are evaluated in b",)}), rows)
    assert (leaked.verdict, leaked.why) == ("cannot tell", "rows that were trained on are evaluated")


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
    assert flat.verdict == "supported" and "6 change nothing" in flat.why
    harmed = verdict_of("C11", *several(0.0, ("xnli",), odd=("qqp", -0.05)))
    assert harmed.verdict == "supported" and "5 change nothing" in harmed.why, "what harms XNLI is no gain"
    assert verdict("C11", *several(0.0, ("xnli",), odd=("qqp", 0.03))) == "contradicted"
    assert verdict("C11", *several(0.0, ("xnli",), wobble=0.03)) == "cannot tell"
    assert verdict("C11", *several(0.0, ("xnli",), arms=SIX[:5])) == "cannot tell"


def best_run(gains, *, english_dev=None):
    """A run of two arms on all targets, and their dev scores."""
    run = about(["none", "mnli", "squad2"])
    rows = results(run, gains)
    trained = {card.trained_on or card.name for card in cards() if card.name in TARGETS} - {"tatoeba"}
    dev = [
        row.model_copy(
            update={"task": task, "split": "dev", "value": 0.5 + (english_dev or {}).get((row.arm, task), 0)}
        )
        for row in rows
        if row.task == "xnli" and row.language == "en" and row.arm != "none"
        for task in sorted(trained)
    ]
    return run, rows, tuple(dev)


def test_c12_best_per_target():
    pairs = ("xnli", "pawsx", "udpos", "panx")
    gains = {"mnli": dict.fromkeys(pairs, 0.054), "squad2": {task: 0.054 for task in TARGETS if task not in pairs}}
    better = {("mnli", name): 0.1 for name in ("mnli", "pawsx", "udpos", "panx")}
    better |= {("squad2", name): 0.1 for name in ("squad", "tydiqa", "bucc")}
    run, rows, dev = best_run(gains, english_dev=better)
    found = verdict_of("C12", run, rows, choosing=dev)
    assert found.verdict == "supported", found.why
    assert "tatoeba squad2" in found.why and "panx mnli" in found.why
    assert verdict("C12", run, rows) == "cannot tell", "nothing is chosen on test data"
    wrong = best_run(gains, english_dev={(arm, name): -value for (arm, name), value in better.items()})
    assert verdict("C12", run, rows, choosing=wrong[2]) == "contradicted"
    assert verdict("C12", run, rows, choosing=[row for row in dev if row.arm == "mnli"]) == "cannot tell"
    on_dev = [row.model_copy(update={"split": "dev"}) for row in rows]
    assert "about test sets" in verdict_of("C12", run, on_dev, choosing=dev).why


@pytest.mark.parametrize(("claim", "variant"), [("C13", "{}+replay"), ("C14", "{}_translated")])
def test_c13_c14_plain_against_a_variant(claim, variant):
    arms = ["none", "mnli", "squad", *(variant.format(name) for name in ("mnli", "squad"))]
    run = about(arms)
    plain = {"mnli": 0.05, "squad": 0.04}
    assert verdict(claim, run, results(run, plain)) == "supported"
    assert verdict(claim, run, results(run, {variant.format(name): 0.05 for name in plain})) == "contradicted"
    assert verdict(claim, run, results(run, {})) == "contradicted", "shown to be the same"
    assert verdict(claim, run, results(run, plain, wobble=0.9)) == "cannot tell"
    assert verdict(claim, about(["none", "mnli"]), results(run, plain)) == "cannot tell"


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
    assert '<a href="#claims">' in html and "first (trained on mnli in English)" in section
    written = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert list(written) == [claim.id for claim in claims.claims()]
    assert written["C02"]["verdict"] == "contradicted" and "2 of the nine targets" in written["C02"]["why"]
    assert all(f'<th scope="row">{name}</th>' in section for name in written)
    plain = write(run.about, run.rows, run.costs, tmp_path).read_text(encoding="utf-8")
    assert "#claims" not in plain
