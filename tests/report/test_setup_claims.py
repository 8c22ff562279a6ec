"""Facts about how the experiment is set up: told by the recipe and the rows that were found."""

from __future__ import annotations

import pytest
from claim_records import about, results, said, verdict, verdict_of

from viaduct.results.record import DataNote

SAME, OTHER, UNKNOWN = "as in the source", "not as in the source", "not known"


@pytest.mark.parametrize(
    ("encoder", "details", "expected"),
    [
        ("FacebookAI--xlm-roberta-large", None, SAME),
        ("xlm-roberta-large", {}, SAME),
        ("bert", {"layers": "12", "width": "768", "vocabulary": "119,547"}, OTHER),
        ("xlm-roberta-large", {"layers": "2"}, OTHER),
        ("my-folder", {"layers": "24", "width": "1,024", "vocabulary": "250,002"}, UNKNOWN),
        ("my-folder", {}, UNKNOWN),
    ],
)
def test_c01_encoder(encoder, details, expected):
    assert verdict("C01", about(["none"], encoder=encoder, details=details)) == expected


def test_c02_targets():
    assert verdict("C02", about(["none"])) == SAME
    fewer = verdict_of("C02", about(["none"], tasks=("xnli", "bucc")))
    assert fewer.verdict == OTHER and "2 of the nine" in fewer.why and "tatoeba" in fewer.why


def test_c09_retrieval_without_training():
    run = about(["none"], tasks=("bucc", "tatoeba"))
    rows = results(run, {})
    assert verdict("C09", run, rows) == SAME
    trained = [row.model_copy(update={"selection": "english dev"}) for row in rows]
    assert verdict("C09", run, trained) == OTHER
    assert not verdict_of("C09", run).applies


def test_facts_about_the_set_up_support_nothing():
    run = about(["none", "mnli"], data={"mnli": 392_702})
    found = {line.verdict for line in said(run, results(run, {})).values() if line.claim.kind == "setup"}
    assert found <= {SAME, OTHER, UNKNOWN} and SAME in found


@pytest.mark.parametrize(
    ("claim", "data", "expected"),
    [
        ("C16", {"anli_plus": 1_104_934}, SAME),
        ("C16", {"anli": 162_865, "mnli": 392_702, "snli": 549_367}, SAME),
        ("C16", {"anli": 162_865, "mnli": 392_702, "snli": 549_000}, OTHER),
        ("C16", {"anli": 162_865, "mnli": 392_702}, UNKNOWN),
        ("C17", {"mnli": 392_702}, SAME),
        ("C17", {"mnli": 1_000}, OTHER),
        ("C17", {}, UNKNOWN),
    ],
)
def test_c16_c17_rows_found(claim, data, expected):
    found = verdict_of(claim, about(["none"], data=data))
    assert (found.verdict, found.applies) == (expected, expected != UNKNOWN)
    assert verdict(claim, about(["none"], data=data, miniature=True)) == UNKNOWN


def test_rows_of_another_language_or_split_or_not_found_do_not_count():
    run = about(["none"])
    notes = [("mnli", "dev", "en", 392_702), ("mnli", "train", "de", 392_702), ("mnli", "train", "en", 0)]
    data = [
        DataNote(task=task, split=split, language=code, layout="official", found=found, published=None)
        for task, split, code, found in notes
    ]
    assert verdict("C17", run.model_copy(update={"data": tuple(data)})) == UNKNOWN


def test_c20_phases():
    assert verdict("C20", about(["none", "mnli"])) == SAME
    assert verdict("C20", about(["none"])) == UNKNOWN and not verdict_of("C20", about(["none"])).applies
    unknown = about(["none", "mnli"], encoder="folder", details={})
    assert verdict("C20", unknown) == UNKNOWN
    own = unknown.model_copy(update={"settings": {**unknown.settings, "pretrain": "9 epochs"}})
    assert verdict("C20", own) == SAME
    joint = unknown.model_copy(update={"settings": {"pretrain": "", "mnli": "mnli (en), replayed", "target xnli": ""}})
    assert verdict("C20", joint) == SAME
