"""Supertags: CCGbank's two forms and the Parallel Meaning Bank; only categories are accepted as tags."""

from __future__ import annotations

from pathlib import Path

import pytest
from holdings import languages_there
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.tasks.card import read
from viaduct.tasks.ccg import CARD, is_category
from viaduct.tasks.ccg_pmb import CARD as PMB

atoms = st.sampled_from(["S[dcl]", "NP", "N", "NP[nb]", "PP", "s:dcl", "np", "conj", ",", ".", ";"])
slashes = st.sampled_from(["/", "\\"])


def bracketed(text: str) -> str:
    return f"({text})" if "/" in text or "\\" in text else text


categories = st.recursive(
    atoms,
    lambda inner: st.tuples(inner, slashes, inner).map(
        lambda parts: f"{bracketed(parts[0])}{parts[1]}{bracketed(parts[2])}"
    ),
    max_leaves=6,
)


@given(categories)
def test_what_is_built_as_a_category_is_one_and_stops_being_one_when_cut(text: str) -> None:
    assert is_category(text)
    assert not is_category(f"({text}") and not is_category(f"{text})") and not is_category(f"{text}/")


@pytest.mark.parametrize("text", ["", "NN", "VBZ", "O", "tea.n.01", "[Theme]", "S NP", "(S/NP", "S/", "()"])
def test_other_columns_are_no_categories(text: str) -> None:
    assert not is_category(text)


def put(data: Path, name: str, content: str) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


LINES = "# made for a test\n\n-LRB-|-LRB-|LRB Tea|NN|N a\\/b|VBZ|S[dcl]\\NP\n#|#|N/N 5|CD|N\n"


def tree(name: str, verb: str = "S[dcl]\\NP") -> str:
    leaves = "(<L LRB -LRB- -LRB- -LRB- LRB>) ) (<T NP 0 1> (<L N NN NN Tea N>) )"
    return f"ID={name} PARSER=GOLD NUMPARSE=1\n(<T S[dcl] 0 2> (<T NP 1 2> {leaves} (<L {verb} VBZ VBZ a\\/b S>) )\n"


def test_the_one_line_form_and_auto_files_give_the_same_words(tmp_path: Path) -> None:
    put(tmp_path, "ccgbank/wsj00.stagged", LINES)
    first, second = read(CARD, tmp_path, "en", "dev").rows
    assert (first.id, first.tokens, first.tags) == ("0", ("(", "Tea", "a/b"), ("LRB", "N", "S[dcl]\\NP"))
    assert (second.id, second.tokens, second.tags) == ("1", ("#", "5"), ("N/N", "N"))
    put(tmp_path, "ccgbank_1_1/data/AUTO/00/wsj_0002.auto", tree("wsj_0002.1"))
    put(tmp_path, "ccgbank_1_1/data/AUTO/00/wsj_0001.auto", tree("wsj_0001.1") + tree("wsj_0001.2"))
    found = read(CARD, tmp_path, "en", "dev")
    assert [row.id for row in found.rows] == ["wsj_0001.1", "wsj_0001.2", "wsj_0002.1"]
    assert {(row.tokens, row.tags) for row in found.rows} == {(first.tokens, first.tags)}
    assert found.expected is None, "no published counts that were read"


def test_training_needs_all_twenty_sections_and_leaves_the_others_out(tmp_path: Path) -> None:
    for section in (f"{number:02}" for number in range(25)):
        put(tmp_path, f"ccgbank/data/AUTO/{section}/wsj_{section}01.auto", tree(f"wsj_{section}01.1"))
    ids = [row.id for row in read(CARD, tmp_path, "en", "train").rows]
    assert (len(ids), ids[0], ids[-1]) == (20, "wsj_0201.1", "wsj_2101.1")
    assert [row.id for row in read(CARD, tmp_path, "en", "test").rows] == ["wsj_2301.1"]
    (tmp_path / "ccgbank/data/AUTO/17/wsj_1701.auto").unlink()
    with pytest.raises(DataError, match=r"looked for .*ccgbank/data/AUTO/17/wsj_\*.auto"):
        read(CARD, tmp_path, "en", "train")


def test_the_one_slip_of_the_treebank_is_corrected(tmp_path: Path) -> None:
    put(tmp_path, "ccgbank/wsj23.stagged", "do|VB|((S[b]\\NP)/NP)/ it|PRP|NP\n")
    assert read(CARD, tmp_path, "en", "test").rows[0].tags == ("(S[b]\\NP)/NP", "NP")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ccgbank/wsj00.stagged", LINES + "Tea|NN\n", "line 5: not words of the form"),
        ("ccgbank/wsj00.stagged", LINES + "\nTea|NN|N\n", "line 5: not words of the form"),
        ("ccgbank/wsj00.stagged", LINES + "Tea|N|NN\n", "line 5: 'NN' is not a category"),
        ("ccgbank/data/AUTO/00/wsj_0001.auto", tree("a.1", "VBZ"), "line 2: 'VBZ' is not a category"),
        ("ccgbank/data/AUTO/00/wsj_0001.auto", tree("a.1")[:-3] + "\n", "line 2: not a derivation"),
        (
            "ccgbank/data/AUTO/00/wsj_0001.auto",
            tree("a.1").split("\n")[1] + "\n",
            "line 1: a derivation without its ID",
        ),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    put(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        read(CARD, tmp_path, "en", "dev")


def document(name: str, *sentences: str) -> str:
    head = f"# newdoc id = {name}\n# layer:statuses =\n# tok:gold\ttok:gold\tsym:gold\tsem:gold\tcat:gold\tsns:gold\n"
    return head + "".join(
        f"# raw sent = {sentence}\n"
        + "".join(f"{word}\t{word}\t{word}\tCON\t{category}\tO\t[]\n" for word, category in WORDS[sentence])
        + "\n"
        for sentence in sentences
    )


WORDS = {
    "Green tea boils.": [("Green~tea", "n"), ("boils", "s:dcl\\np"), (".", ".")],
    "# 5": [("#", "n/n"), ("5", "n")],
}
START = "### Generated by the command:\n### made for a test\n"


def test_a_document_of_the_meaning_bank_may_hold_several_sentences(tmp_path: Path) -> None:
    content = START + document("p02/d0007", *WORDS) + document("p02/d0008", "# 5")
    put(tmp_path, "ccg_pmb/4.0.0/de/gold/dev.conll", content)
    rows = read(PMB, tmp_path, "de", "dev").rows
    assert [(row.id, row.tokens) for row in rows] == [
        ("p02/d0007.1", ("Green tea", "boils", ".")),
        ("p02/d0007.2", ("#", "5")),
        ("p02/d0008.1", ("#", "5")),
    ]
    assert rows[0].tags == ("n", "s:dcl\\np", ".")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (START + document("a", "# 5").removesuffix("\n"), "the last sentence has no blank line after it"),
        (START + document("a", "# 5").replace("\tO\t[]", "\tO"), "line 7: 6 columns, not 7"),
        (START + document("a", "# 5").replace("\tn\t", "\tCON\t"), "line 8: 'CON' is not a category"),
        ("Tea\tTea\ttea\tCON\tn\tO\t[]\n\n", "line 1: a token before any"),
    ],
)
def test_damage_of_the_meaning_bank_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, "ccg_pmb/4.0.0/en/gold/train.conll", content)
    with pytest.raises(DataError, match=message):
        read(PMB, tmp_path, "en", "train")


def test_real_categories_and_how_many_of_them_training_has(shared_data: Path) -> None:
    known = {tag for row in read(PMB, shared_data, "en", "train").rows for tag in row.tags}
    assert len(known) == 294
    unseen = {}
    for language in languages_there(PMB, shared_data, "dev"):
        tags = [tag for row in read(PMB, shared_data, language, "dev").rows for tag in row.tags]
        unseen[language] = round(100 * sum(tag not in known for tag in tags) / len(tags), 1)
    assert unseen == {"en": 0.2, "de": 4.0, "it": 3.5, "nl": 2.5}
