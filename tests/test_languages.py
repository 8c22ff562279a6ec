"""Any ISO 639 language is known by one code, however it is written, and has a known family or one of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.errors import UsageError
from viaduct.languages import families_in_order, family_of, flores_code, language, name_of
from viaduct.report.table import family_order
from viaduct.tasks.catalogue import card_of_file
from viaduct.tasks.mapping import load_mapping


@pytest.mark.parametrize(
    ("given", "code", "name", "script", "family"),
    [
        ("da", "da", "Danish", "Latn", "Germanic"),
        ("hau", "ha", "Hausa", "Latn", "Afro-Asiatic"),
        ("amh_Ethi", "am", "Amharic", "Ethi", "Afro-Asiatic"),
        ("eng_Latn", "en", "English", "Latn", "Germanic"),
        ("arb_Arab", "ar", "Arabic", "Arab", "Afro-Asiatic"),
        ("kor_Hang", "ko", "Korean", "Kore", "Koreanic"),
        ("tgl", "tl", "Tagalog", "Latn", "Austronesian"),
        ("zho_Hans", "zh", "Chinese", "Hans", "Sino-Tibetan"),
        ("zh-Hant", "zh-Hant", "Chinese (Hant)", "Hant", "Sino-Tibetan"),
        ("zho_hant", "zh-Hant", "Chinese (Hant)", "Hant", "Sino-Tibetan"),
        ("dag", "dag", "Dagbani", "Latn", "Dagbani, family unknown"),
        ("ty", "ty", "Tahitian", "Latn", "Tahitian, family unknown"),
        ("tlh", "tlh", "Klingon", "Zzzz", "Klingon, family unknown"),
    ],
)
def test_one_language_has_one_code(given: str, code: str, name: str, script: str, family: str) -> None:
    found = language(given)
    assert (found.code, found.name, found.script, found.family) == (code, name, script, family)


@pytest.mark.parametrize("given", ["xx", "klingon", "en_Latn_US", "", "e", "en-"])
def test_what_is_no_code_is_refused_with_examples(given: str) -> None:
    with pytest.raises(UsageError, match="use a code of ISO 639"):
        language(given)


def test_unknown_families_are_families_of_their_own_and_come_last() -> None:
    assert family_of("dag") != family_of("ty") and "unknown" in family_of("dag")
    assert family_order(("ty", "dag", "zh", "da", "sw")) == ("da", "sw", "zh", "dag", "ty")
    assert families_in_order(["Tupian", "mine", "Celtic"]) == ("Celtic", "Tupian", "mine")
    assert (name_of("xx"), family_of("xx")) == ("xx", "xx, family unknown")


def test_codes_of_flores_lead_back_to_ours() -> None:
    for code in ("ar", "az", "fa", "ko", "ms", "qu", "sw", "zh", "zh-Hant", "sq", "om"):
        assert language(flores_code(code)).code in (code, "quy")


MAPPING = """
name = "news"
kind = "classification"
path = "news/{language}-{split}.jsonl"
languages = ["eng_Latn", "dan_Latn", "zho_Hant"]
language_words = {"zh-Hant" = "tw"}
columns = {text = "text", label = "label"}
labels = {order = ["a", "b"]}
expected = {test = {dan_Latn = 3}}
"""


def test_a_mapping_may_write_codes_as_its_files_do(tmp_path: Path) -> None:
    path = tmp_path / "news.toml"
    path.write_text(MAPPING, encoding="utf-8")
    card = load_mapping(path)
    assert card.languages == ("en", "da", "zh-Hant") and card.expected == {("da", "test"): 3}
    assert card.sources[0].languages == {"en": "eng_Latn", "da": "dan_Latn", "zh-Hant": "tw"}
    path.write_text(MAPPING.replace('"dan_Latn", ', '"en", ', 1), encoding="utf-8")
    with pytest.raises(UsageError, match="one appears twice among eng_Latn, en"):
        load_mapping(path)


def test_a_card_in_python_uses_our_code(tmp_path: Path) -> None:
    path = tmp_path / "card.py"
    path.write_text(
        "from viaduct.tasks.card import Task\n"
        "CARD = Task(name='t', title='t', kind='text', languages=('eng_Latn',), licence='', citation='')\n"
    )
    with pytest.raises(UsageError, match="language 'eng_Latn' is called 'en' here"):
        card_of_file(path)
