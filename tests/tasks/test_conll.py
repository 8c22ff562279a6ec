"""CoNLL-U trees and token TAB tag files: what becomes a token, what is an error, and which place it names."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.rows import Tagged
from viaduct.tasks.conll import (
    Words,
    hub_tags,
    read_conllu,
    read_token_tags,
    treebank_files,
    treebanks,
)
from viaduct.tasks.udpos import LABELS

TAGS = ("NOUN", "VERB", "ADP", "DET", "PUNCT", "PRON", "SYM", "X")


def word(position: int | str, form: str, tag: str = "NOUN", head: int | str = 0, enhanced: str = "_") -> str:
    return "\t".join([str(position), form, "_", tag, "_", "_", str(head), "dep", enhanced, "_"])


def span(first: int, last: int, form: str) -> str:
    return "\t".join([f"{first}-{last}", form, *"_" * 8])


def write(folder: Path, *lines: str, end: str = "\n\n") -> Path:
    path = folder / "xx_made-ud-test.conllu"
    path.write_bytes(("\n".join(lines) + end).encode())
    return path


def flat(path: Path, language: str = "xx") -> list[Words]:
    return list(read_conllu(path, language, TAGS))


def test_contraction_keeps_its_form_and_its_highest_words_tag(tmp_path: Path) -> None:
    # "fui" is the root; "al" = a + el, where a hangs on mar and el hangs on a
    path = write(
        tmp_path,
        "# text = Fui al mar.",
        word(1, "Fui", "VERB", 0),
        span(2, 3, "al"),
        word(2, "a", "ADP", 4),
        word(3, "el", "DET", 2),
        word(4, "mar", "NOUN", 1),
        word(5, ".", "PUNCT", 1),
    )
    assert flat(path) == [Words(("Fui", "al", "mar", "."), ("VERB", "ADP", "NOUN", "PUNCT"))]


@pytest.mark.parametrize(("language", "tag"), [("xx", "NOUN"), ("es", "ADP")])
def test_equally_high_words_go_by_the_languages_order(tmp_path: Path, language: str, tag: str) -> None:
    # in general NOUN comes before ADP; Spanish has its own list, which lacks NOUN
    path = write(tmp_path, word(1, "x", "VERB"), span(2, 3, "yz"), word(2, "y", "ADP", 1), word(3, "z", "NOUN", 1))
    assert flat(path, language)[0].tags == ("VERB", tag)


def test_enhanced_dependencies_count_as_edges(tmp_path: Path) -> None:
    plain = [word(1, "x", "VERB"), span(2, 3, "yz"), word(2, "y", "DET", 1), word(3, "z", "ADP", 2), word(4, "w")]
    assert flat(write(tmp_path, *plain))[0].tags == ("VERB", "DET", "NOUN")
    # an enhanced head of y, and with it that head's heads, puts y below z; the empty node 4.1 is no head
    plain[2] = word(2, "y", "DET", 4, "1:dep|3:conj:and|4.1:dep")
    plain[3] = word(3, "z", "ADP", 1)
    assert flat(write(tmp_path, *plain))[0].tags == ("VERB", "ADP", "NOUN")


def test_cyclic_enhanced_graph_ends(tmp_path: Path) -> None:
    path = write(tmp_path, span(1, 2, "ab"), word(1, "a", "NOUN", 0, "2:x"), word(2, "b", "VERB", 1, "1:x"))
    assert flat(path) == [Words(("ab",), ("VERB",))]


def test_empty_nodes_blanks_and_joiners_go(tmp_path: Path) -> None:
    path = write(tmp_path, word(1, "học sinh"), word("1.1", "ghost", "VERB"), word(2, "می\u200cرود", "VERB", 1))
    assert flat(path)[0].tokens == ("họcsinh", "میرود")


@pytest.mark.parametrize(("forms", "kept"), [("_ _ _", False), ("_ a", False), ("_ _ b", False), ("_ a b", True)])
def test_sentences_without_text_are_dropped(tmp_path: Path, forms: str, kept: bool) -> None:
    lines = [word(n, form, head=n - 1) for n, form in enumerate(forms.split(), 1)]
    assert bool(flat(write(tmp_path, *lines))) is kept


def test_crlf_and_gzip_read_the_same(tmp_path: Path) -> None:
    lines = [word(1, "one"), "", "", "", "# comment", word(1, "two"), word(2, "three", "VERB", 1), "", ""]
    expected = flat(write(tmp_path, *lines))
    assert [sentence.tokens for sentence in expected] == [("one",), ("two", "three")]
    crlf = tmp_path / "crlf.conllu"
    crlf.write_bytes("\r\n".join(lines).encode())
    assert flat(crlf) == expected
    packed = tmp_path / "packed.conllu.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert flat(packed) == expected


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_treebank_without_its_last_blank_line_may_be_cut_off(tmp_path: Path, end: str) -> None:
    with pytest.raises(DataError, match="line 4: the last sentence has no blank line after it"):
        flat(write(tmp_path, word(1, "one"), "", "# c", word(1, "two"), end=end))


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ([word(1, "a"), "2\tb\tc"], 2, "3 columns"),
        ([word(1, "a"), word(3, "b")], 2, "word 3 follows word 1"),
        ([word("one", "a")], 1, "'one' is not the id"),
        ([word(1, "a", head="x")], 1, "head 'x'"),
        (["# c", word(1, "a"), word(2, "b", "NOUM")], 3, "did you mean 'NOUN'"),
        ([word(1, "a", "_"), word(2, "b")], 1, "never annotated"),
        ([word(1, "a"), "", "# c", span(1, 3, "ab"), word(1, "a"), word(2, "b")], 3, "range 1-3"),
    ],
)
def test_damaged_trees_name_the_line(tmp_path: Path, lines: list[str], line: int, message: str) -> None:
    with pytest.raises(DataError, match=f"line {line}: .*{message}"):
        flat(write(tmp_path, *lines))


def test_unreadable_treebanks(tmp_path: Path) -> None:
    path = tmp_path / "bad.conllu"
    with pytest.raises(DataError, match=r"bad.conllu"):
        flat(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        flat(path)
    path.write_bytes(word(1, "ok").encode() + b"\n" + word(2, "käse").encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=r"line 2.*UTF-8"):
        flat(path)
    packed = tmp_path / "bad.conllu.gz"
    packed.write_bytes(gzip.compress(word(1, "ok").encode() * 50)[:-20])
    with pytest.raises(DataError, match="archive is damaged"):
        flat(packed)


def test_treebanks_are_joined_in_the_order_of_their_names() -> None:
    names = ["Z/en_gum-ud-test.conllu", "A/en_pud-ud-test.conllu.gz", "B/en_ewt-ud-test.conllu.gz"]
    names += ["B/en_ewt-ud-test.conllu", "B/en_ewt-ud-test.conllu.bak"]
    assert [path.name for path in treebank_files(map(Path, names))] == [
        "en_ewt-ud-test.conllu",
        "en_gum-ud-test.conllu",
        "en_pud-ud-test.conllu.gz",
    ]


def tagged(folder: Path, text: str, prefix: str = "") -> list[Words]:
    path = folder / "test-xx.tsv"
    path.write_bytes(text.encode())
    return list(read_token_tags(path, ("O", "B-PER", "I-PER"), prefix=prefix))


ADA = [Words(("Ada", "New York"), ("B-PER", "O")), Words(("", "#"), ("O", "I-PER"))]


@pytest.mark.parametrize(
    "text",
    [
        "Ada\tB-PER\nNew York\tO\n\n\tO\n#\tI-PER\n",
        "Ada\tB-PER\r\nNew York\tO\r\n\r\n\tO\r\n#\tI-PER\r\n\r\n",
        "\ufeff\n\nAda\tB-PER\nNew York\tO\n \n\t\n\n\tO\n#\tI-PER\n\n\n",
    ],
)
def test_shapes_of_one_tagged_file(tmp_path: Path, text: str) -> None:
    assert tagged(tmp_path, text) == ADA


def test_a_last_line_without_its_end_may_be_half_a_token(tmp_path: Path) -> None:
    for half in ("Ada\tB-PER\nNew Yo", "Ada\tB-PER\nNew York\t", "Ada\tB-PER\nNew York\tO", "Ada\nNew Yo"):
        with pytest.raises(DataError, match="line 2: the last line has no line end"):
            tagged(tmp_path, half)


def test_tokens_alone_have_no_tags(tmp_path: Path) -> None:
    assert tagged(tmp_path, "Ada\nLovelace\n\nO\n") == [Words(("Ada", "Lovelace"), None), Words(("O",), None)]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    assert tagged(tmp_path, "a\u2028b\tO\n\x85\tO\n")[0].tokens == ("a\u2028b", "\x85")


def test_prefix_is_cut_once(tmp_path: Path) -> None:
    assert tagged(tmp_path, "zh:zh:\tO\nzh:\tO\n", "zh:")[0].tokens == ("zh:", "")
    with pytest.raises(DataError, match=r"line 2.*'ja:ア'.*'zh:'"):
        tagged(tmp_path, "zh:x\tO\nja:ア\tO\n", "zh:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ada\tB-PER\tX\n", "line 1: 3 columns"),
        ("Ada\tO\n\nLove\tB-PRE\n", "line 3: unknown tag 'B-PRE', did you mean 'B-PER'"),
        ("Ada\tO\nLove O\n", "line 2: no tag here, but a tag in line 1"),
        ("Ada\nLove\tO\n", "line 2: a tag here, but no tag in line 1"),
        ("Ada\tO\nLove\t\n", "line 2: no tag here"),
        ("Ada\t_\n", "never annotated"),
    ],
)
def test_damaged_tag_files_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tagged(tmp_path, text)


TOKENS = st.text(st.characters(exclude_characters="\0\t\n\r\ufeff", exclude_categories=["Cs"]), max_size=8)
SENTENCES = st.lists(
    st.lists(st.tuples(TOKENS, st.sampled_from(("O", "B-PER", "I-PER"))), min_size=1, max_size=5),
    min_size=1,
    max_size=5,
)


@given(SENTENCES, st.integers(1, 3), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]], blanks: int, ended: bool
) -> None:
    text = ("\n" * (blanks + 1)).join("\n".join(f"{token}\t{tag}" for token, tag in pairs) for pairs in sentences)
    read = tagged(tmp_path_factory.mktemp("tags"), text + "\n" * (1 + ended))
    assert read == [Words(*zip(*pairs, strict=True)) for pairs in sentences]


@given(st.data())
def test_fusing_keeps_every_word_in_one_token(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    num_words = data.draw(st.integers(2, 8))
    starts = sorted(data.draw(st.sets(st.integers(2, num_words), max_size=num_words - 1)))
    bounds = list(zip([1, *starts], [*(start - 1 for start in starts), num_words], strict=True))
    lines = []
    for first, last in bounds:
        if last > first:
            lines.append(span(first, last, "+".join(map(str, range(first, last + 1)))))
        lines += [word(n, str(n), data.draw(st.sampled_from(TAGS)), data.draw(st.integers(0, num_words)))
                  for n in range(first, last + 1)]  # fmt: skip
    (sentence,) = flat(write(tmp_path_factory.mktemp("tree"), *lines))
    assert "+".join(sentence.tokens) == "+".join(map(str, range(1, num_words + 1)))
    assert sentence.tags is not None and len(sentence.tags) == len(bounds)


def hub(folder: Path, **columns: list[list[object]]) -> Path:
    path = folder / "test-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_hub_numbers_become_tags(tmp_path: Path) -> None:
    path = hub(tmp_path, tokens=[["a", "b"], ["c"]], tags=[[0, 2], [1]])
    assert list(hub_tags("tags", ("O", "B", "I"))({"rows": (path,)}, "en", "test")) == [
        Tagged("0", "en", ("a", "b"), ("O", "I")),
        Tagged("1", "en", ("c",), ("B",)),
    ]
    read = hub_tags("tags", ("O", "B"))
    with pytest.raises(DataError, match="row 0: 'tags' has 2, but there are only 2 labels"):
        list(read({"rows": (path,)}, "en", "test"))
    with pytest.raises(DataError, match="row 0: 1 tokens, but 2 tags"):
        list(read({"rows": (hub(tmp_path, tokens=[["a"]], tags=[[0, 1]]),)}, "en", "test"))


def test_rows_are_numbered_from_zero_over_all_treebanks(tmp_path: Path) -> None:
    paths = [tmp_path / f"xx_{name}-ud-test.conllu" for name in ("b", "a")]
    for path in paths:
        lines = [word(1, path.name), "", word(1, "more")]
        path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    rows = list(treebanks(TAGS)({"rows": tuple(paths)}, "en", "test"))
    assert [row.id for row in rows] == ["0", "1", "2", "3"]
    assert [row.texts[0] for row in rows] == ["xx_a-ud-test.conllu", "more", "xx_b-ud-test.conllu", "more"]


@pytest.mark.parametrize("treebank", ["es_gsd", "fa_seraji", "fi_tdt", "fr_gsd", "mr_ufal", "vi_vtb"])
def test_same_as_the_official_conversion(shared_oracles: Path, treebank: str) -> None:
    folder = shared_oracles / "udpos"
    ours = list(read_conllu(folder / f"{treebank}-ud-test.conllu", treebank[:2], LABELS))
    assert ours == list(read_token_tags(folder / f"{treebank}-ud-test.expected.tsv", LABELS))
    theirs = list(read_token_tags(folder / f"{treebank}-ud-test.expected.tokens.tsv", LABELS))
    assert [sentence.tokens for sentence in ours] == [sentence.tokens for sentence in theirs]
