"""Claims about how the experiment is set up: decided by the recipe, the cards and the rows that were found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from claim_records import about, cards, results, verdict, verdict_of

from viaduct.results.record import DataNote
from viaduct.tasks.catalogue import Catalogue

# set-up


@pytest.mark.parametrize(
    ("encoder", "details", "expected"),
    [
        ("FacebookAI--xlm-roberta-large", None, "supported"),
        ("xlm-roberta-large", {}, "supported"),
        ("bert", {"layers": "12", "width": "768", "vocabulary": "119,547"}, "contradicted"),
        ("xlm-roberta-large", {"layers": "2"}, "contradicted"),
        ("my-folder", {"layers": "24", "width": "1,024", "vocabulary": "250,002"}, "cannot tell"),
        ("my-folder", {}, "cannot tell"),
    ],
)
def test_c01_encoder(encoder, details, expected):
    assert verdict("C01", about(["none"], encoder=encoder, details=details)) == expected


def test_c02_targets():
    assert verdict("C02", about(["none"])) == "supported"
    fewer = verdict_of("C02", about(["none"], tasks=("xnli", "bucc")))
    assert fewer.verdict == "contradicted" and "2 of the nine" in fewer.why and "tatoeba" in fewer.why
    assert verdict("C02", about(["none"]), cards=[card for card in cards() if card.name != "bucc"]) == "cannot tell"


def test_c03_languages():
    assert verdict("C03", about(["none"])) == "supported"
    without = [replace(card, languages=tuple(c for c in card.languages if c != "yo")) for card in cards()]
    assert verdict_of("C03", about(["none"]), cards=without).why.startswith("39 languages")
    assert verdict("C03", about(["none"]), cards=without) == "contradicted"
    assert verdict("C03", about(["none"]), cards=cards()[1:]) == "cannot tell"


def test_c09_retrieval_without_training():
    run = about(["none"], tasks=("bucc", "tatoeba"))
    rows = results(run, {})
    assert verdict("C09", run, rows) == "supported"
    trained = [row.model_copy(update={"selection": "english dev"}) for row in rows]
    assert verdict("C09", run, trained) == "contradicted"
    other = [replace(card, trained_on="mnli") if card.name == "bucc" else card for card in cards()]
    assert verdict("C09", run, rows, cards=other) == "contradicted"
    assert verdict("C09", run, cards=[card for card in cards() if card.name != "tatoeba"]) == "cannot tell"


def test_c15_kinds():
    assert verdict("C15", about(["none"])) == "supported"
    tagless = [replace(card, kind="pair") if card.name == "ccg" else card for card in cards()]
    assert verdict("C15", about(["none"]), cards=tagless) == "contradicted"
    lacking = [card for card in cards() if card.name != "ccg"]
    assert verdict_of("C15", about(["none"]), cards=lacking)[1:] == ("cannot tell", "there is no card 'ccg'")


@pytest.mark.parametrize(
    ("claim", "data", "expected"),
    [
        ("C16", {"anli_plus": 1_104_934}, "supported"),
        ("C16", {"anli": 162_865, "mnli": 392_702, "snli": 549_367}, "supported"),
        ("C16", {"anli": 162_865, "mnli": 392_702, "snli": 549_000}, "contradicted"),
        ("C16", {"anli": 162_865, "mnli": 392_702}, "cannot tell"),
        ("C17", {"mnli": 392_702}, "supported"),
        ("C17", {"mnli": 1_000}, "contradicted"),
        ("C17", {}, "cannot tell"),
    ],
)
def test_c16_c17_rows_found(claim, data, expected):
    assert verdict(claim, about(["none"], data=data)) == expected
    assert verdict(claim, about(["none"], data=data, miniature=True)) == "cannot tell"


def test_rows_of_another_language_or_split_or_not_found_do_not_count():
    run = about(["none"])
    notes = [("mnli", "dev", "en", 392_702), ("mnli", "train", "de", 392_702), ("mnli", "train", "en", 0)]
    data = [
        DataNote(task=task, split=split, language=code, layout="official", found=found, published=None)
        for task, split, code, found in notes
    ]
    assert verdict("C17", run.model_copy(update={"data": tuple(data)})) == "cannot tell"


@pytest.mark.parametrize(("claim", "name"), [("C18", "squad2"), ("C19", "hellaswag")])
def test_c18_c19_cards(claim, name):
    assert verdict(claim, about(["none"])) == "supported"
    other = [replace(card, kind="pair") if card.name == name else card for card in cards()]
    assert verdict(claim, about(["none"]), cards=other) == "contradicted"
    silent = [replace(card, title="?") if card.name == name else card for card in cards()]
    assert verdict(claim, about(["none"]), cards=silent) == "cannot tell"
    assert verdict(claim, about(["none"]), cards=[card for card in cards() if card.name != name]) == "cannot tell"


def test_c18_c19_are_supported_by_the_cards_of_the_package():
    for claim in ("C18", "C19"):
        assert verdict(claim, about(["none"]), cards=tuple(Catalogue.builtin())) == "supported"


def test_c20_phases():
    assert verdict("C20", about(["none", "mnli"])) == "supported"
    assert verdict("C20", about(["none"])) == "cannot tell"
    unknown = about(["none", "mnli"], encoder="folder", details={})
    assert verdict("C20", unknown) == "cannot tell"
    own = unknown.model_copy(update={"settings": {**unknown.settings, "pretrain": "9 epochs"}})
    assert verdict("C20", own) == "supported"
    joint = unknown.model_copy(update={"settings": {"pretrain": "", "mnli": "mnli (en), replayed", "target xnli": ""}})
    assert verdict("C20", joint) == "supported"
