"""The udpos card: which files make up a language, in which order, and the real treebanks against XTREME's own files."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError, UsageError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.rows import Tagged
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.conll import read_token_tags
from viaduct.tasks.udpos import CARD, LABELS


def treebank(data: Path, name: str, form: str, tag: str = "NOUN") -> None:
    path = data / "ud-treebanks-v2.5" / f"UD_{name}" / f"{name.lower()}-ud-test.conllu"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\t".join(["1", form, "_", tag, "_", "_", "0", "root", "_", "_"]) + "\n\n", encoding="utf-8")


def test_card_is_registered_and_whole() -> None:
    assert Catalogue.builtin().task("udpos") is CARD
    assert all(code in TABLE for code in CARD.languages)
    assert (len(CARD.languages), len(CARD.labels)) == (33, 17)
    assert [CARD.expected["en", split] for split in ("train", "dev", "test")] == [21_253, 3_974, 5_440]
    assert ("kk", "dev") not in CARD.expected


def test_treebanks_are_joined_by_file_name_and_numbered_through(tmp_path: Path) -> None:
    for name, form in (("en_PUD", "third"), ("en_EWT", "first"), ("en_GUM", "second"), ("enm_Old", "other")):
        treebank(tmp_path, name, form)
    found = read(CARD, tmp_path, "en", "test")
    assert found.rows == (
        Tagged("0", "en", ("first",), ("NOUN",)),
        Tagged("1", "en", ("second",), ("NOUN",)),
        Tagged("2", "en", ("third",), ("NOUN",)),
    )
    assert (len(found.rows), found.expected) == (3, 5_440)


def test_official_files_come_before_the_download(tmp_path: Path) -> None:
    folder = tmp_path / "download" / "udpos"
    folder.mkdir(parents=True)
    (folder / "test-yo.tsv").write_text("ilé\n", encoding="utf-8")
    stripped = read(CARD, tmp_path, "yo", "test")
    assert (stripped.layout, stripped.labelled, stripped.rows) == (
        "xtreme",
        False,
        (Tagged("0", "yo", ("ilé",), None),),
    )
    treebank(tmp_path, "yo_YTB", "ilé")
    assert read(CARD, tmp_path, "yo", "test").layout == "official"


def test_hub_names_languages_in_words_and_leaves_mixed_ones_out(tmp_path: Path) -> None:
    for name in ("Basque", "Greek"):
        path = tmp_path / f"hub/google/xtreme/udpos.{name}/validation-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.table({"tokens": [["etxe", "."]], "pos_tags": [[7, 12]]}), path)
    assert read(CARD, tmp_path, "eu", "dev").rows == (Tagged("0", "eu", ("etxe", "."), ("NOUN", "PUNCT")),)
    with pytest.raises(DataError, match="no files for udpos"):
        read(CARD, tmp_path, "el", "dev")


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for .*UD_\*/th_\*-ud-test.conllu"):
        read(CARD, tmp_path, "th", "test")
    with pytest.raises(UsageError, match="language of udpos 'sw'"):
        read(CARD, tmp_path, "sw", "test")
    treebank(tmp_path, "th_PUD", "บ้าน", "NOUNS")
    with pytest.raises(DataError, match=r"th_pud-ud-test.conllu, line 1: unknown tag 'NOUNS', did you mean 'NOUN'"):
        read(CARD, tmp_path, "th", "test")


COMPLETE = {
    "train": "kk mr",
    "dev": "mr te",
    "test": "af bg eu he hu kk mr nl ta te th tl ur vi yo",
}
"""Split -> languages whose real files have the published count; the other available languages lack treebanks."""

PARTIAL = {("en", "train"): 12_543, ("en", "dev"): 2_002, ("en", "test"): 3_077, ("ja", "test"): 550,
           ("ko", "test"): 989, ("tr", "test"): 983, ("zh", "test"): 500, ("el", "test"): 456}  # fmt: skip


@pytest.mark.parametrize("split", COMPLETE)
def test_real_treebanks_have_the_published_counts(shared_data: Path, split: str) -> None:
    for language in COMPLETE[split].split():
        found = read(CARD, shared_data, language, split)
        assert found.labelled and found.expected in (None, len(found.rows))
    for (language, other), count in PARTIAL.items():
        if other == split:
            assert len(read(CARD, shared_data, language, split).rows) == count


@pytest.mark.parametrize("language", ["af", "kk", "mr", "ta", "te", "tl", "vi", "yo"])
def test_real_treebanks_have_xtremes_tokens(shared_data: Path, language: str) -> None:
    found = read(CARD, shared_data, language, "test")
    assert found.layout == "official"
    theirs = read_token_tags(shared_data / f"xtreme_download/udpos_v2.5/test-{language}.tsv", LABELS)
    assert [row.tokens for row in found.rows if isinstance(row, Tagged)] == [sentence.tokens for sentence in theirs]


@pytest.mark.parametrize(("language", "split"), [("mr", "dev"), ("te", "dev")])
def test_real_treebanks_have_xtremes_tags(shared_data: Path, language: str, split: str) -> None:
    ours = read(CARD, shared_data, language, split).rows
    theirs = list(read_token_tags(shared_data / f"xtreme_download/udpos_v2.5/{split}-{language}.tsv", LABELS))
    assert [(row.tokens, row.tags) for row in ours if isinstance(row, Tagged)] == theirs


def test_all_real_tag_files_are_readable(shared_data: Path) -> None:
    counts = {
        path.stem: sum(1 for _ in read_token_tags(path, LABELS))
        for folder in ("udpos", "udpos_v2.5")
        for path in sorted((shared_data / "xtreme_download" / folder).glob("*.tsv"))
        if folder == "udpos" or path.stem.startswith("dev")
    }
    assert len(counts) == 27
    assert (counts["train-en"], counts["dev-en"]) == (21_787, 3_974)
    assert (counts["test-ta"], counts["test-tl"], counts["test-yo"]) == (654, 222, 318)
