"""Readers of tagged text: CoNLL-U treebanks, files with one `token TAB tag` per line, and the Hub's tables.

CoNLL-U trees become flat sentences as in XTREME: one tag per surface token, contractions kept whole. The card decides
which files belong to a task, and which tags it has. Row ids are sentence positions, counted from 0 over all files of
the language and split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import DataError, nearest, shortened
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import no_line_end, numbered_lines, parquet, without_end
from viaduct.tasks.pairs import HubLabels

CONLLU_COLUMNS = 10
"""Columns of a CoNLL-U line."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")

ZERO_WIDTH_NON_JOINER = "\u200c"

TAG_ORDER = [
    "VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ",
    "AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ", "X", "PUNCT",
]  # fmt: skip
TAG_ORDER_OF = {
    "es": ["VERB", "AUX", "PRON", "ADP", "DET"],
    "fr": ["VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ"],
    "it": ["VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"],
}
"""Tag priority by language: which of two equally high words gives a contraction its tag; others use `TAG_ORDER`.

From ud-conversion-tools' conllu_to_conll.py, which XTREME runs. A tag that is absent comes last (the tool stops there).
"""


class Words(NamedTuple):
    """The tokens of one sentence and their tags; None if the file has no tags."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None


class _Word(NamedTuple):
    form: str
    tag: str
    heads: tuple[int, ...]
    line: int


class _Range(NamedTuple):
    first: int
    last: int
    form: str


class _Tree(NamedTuple):
    """A sentence that is being read line by line."""

    line: int
    words: list[_Word]
    ranges: list[_Range]


def token_tags(tags: Collection[str], *, prefix: str = "", may_have: str = "") -> Reader:
    """A reader of files in the format of `read_token_tags`; `{language}` is filled into the prefix.

    `may_have`: a prefix that is removed if nobody has removed it yet; either all lines of a file have it, or none.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Tagged]:
        path, cut_off = files["rows"][0], (prefix or may_have).format(language=language)
        if not prefix and not _all_lines(path, lambda line: line.startswith(cut_off)):
            cut_off = ""
        return _rows(read_token_tags(path, tags, prefix=cut_off), language)

    return read


def treebanks(tags: Collection[str]) -> Reader:
    """A reader of all treebanks of a language, joined as in XTREME: in the order of their names (en_esl, en_ewt)."""

    def read(files: Files, language: str, _split: str) -> Iterator[Tagged]:
        paths = treebank_files(files["rows"])
        if not paths:
            raise DataError("neither a .conllu nor a .conllu.gz file", path=files["rows"][0], fix="unpack the release")
        return _rows(chain.from_iterable(read_conllu(path, language, tags) for path in paths), language)

    return read


def hub_tags(column: str, tags: Sequence[str]) -> Reader:
    """A reader of Hub Parquet files with the columns `tokens` and `column`, which holds tags (see `pairs.HubLabels`).

    Raises DataError with the row for differing lengths and unknown tags, and as `formats.parquet` does.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Tagged]:
        path = files["rows"][0]
        known = HubLabels(path, column, tags)
        for row, (tokens, given) in enumerate(parquet(files["rows"], ("tokens", column))):
            if not isinstance(tokens, list) or not isinstance(given, list):
                raise DataError(f"row {row}: 'tokens' and '{column}' are not both lists", path=path)
            if len(tokens) != len(given):
                raise DataError(f"row {row}: {len(tokens)} tokens, but {len(given)} tags", path=path)
            yield Tagged(str(row), language, tuple(tokens), tuple(known.name(one, row) for one in given))

    return read


def _rows(sentences: Iterable[Words], language: str) -> Iterator[Tagged]:
    for position, (tokens, tags) in enumerate(sentences):
        yield Tagged(str(position), language, tokens, tags)


def read_token_tags(path: Path, tags: Collection[str], *, prefix: str = "", separator: str = "\t") -> Iterator[Words]:
    """Sentences of a file with `token TAB tag` (or another separator) per line, or only tokens (their tags are None).

    Lines that are empty or contain only spaces and tabs end a sentence; several in a row count as one, and the last
    sentence needs none, but its last line needs a line end. A token may contain spaces. A line that begins with its tab
    has an empty token, which is kept: sentence lengths must match the published ones. With a `prefix` ("en:") every
    token must begin with it, and it is removed along with whitespace around the token.

    Raises DataError with the line for more than two columns, an unknown tag (with the nearest), tags in only part of
    the file, tags separated by a space instead of a tab, and a missing prefix.
    """
    if separator == "\t" and _all_lines(path, lambda line: _has_blank_for_tab(line, tags)):
        message = "there is no tab between token and tag, only a blank"
        raise DataError(message, path=path, line=1, fix="write a tab there, in every line")
    tokens: list[str] = []
    found: list[str] = []
    first: tuple[int, bool] | None = None
    for number, ended in chain(numbered_lines(path), [(0, "\n")]):  # an extra blank line ends the last sentence
        line = without_end(ended)
        if line == ended:
            raise no_line_end(path, number)
        if not line.strip(" \t"):
            if tokens:
                yield Words(tuple(tokens), tuple(found) if found else None)
            tokens, found = [], []
            continue
        token, tag = _token_and_tag(path, number, line.replace(separator, "\t"), prefix)
        first = first or (number, tag is not None)
        if first[1] != (tag is not None):
            here, there = ("a tag" if tagged else "no tag" for tagged in (tag is not None, first[1]))
            message = f"{here} here, but {there} in line {first[0]}; every line has one, or none has"
            fix = "download the file again, or restore the tab between token and tag"
            raise DataError(message, path=path, line=number, fix=fix)
        tokens.append(token)
        if tag is not None:
            found.append(_known_tag(path, number, tag, tags))


def _all_lines(path: Path, holds: Callable[[str], bool]) -> bool:
    """Whether there are non-blank lines and `holds` is true for all of them."""
    lines = (line for _, line in numbered_lines(path) if line.strip())
    return all(map(holds, chain([next(lines, " ")], lines)))


def _has_blank_for_tab(line: str, tags: Collection[str]) -> bool:
    token, blank, tag = line.strip().rpartition(" ")
    return bool(token and blank) and "\t" not in line and tag in tags


def _token_and_tag(path: Path, number: int, line: str, prefix: str) -> tuple[str, str | None]:
    token, *rest = line.split("\t")
    if len(rest) > 1:
        message = f"{len(rest) + 1} columns separated by tabs, but 'token TAB tag' has 2"
        raise DataError(message, path=path, line=number, fix="keep the token and its tag only")
    if not token.startswith(prefix):
        fix = "check that this is the original file, and of this language"
        raise DataError(
            f"the token '{shortened(token)}' does not begin with '{prefix}'", path=path, line=number, fix=fix
        )
    return token.removeprefix(prefix).strip() if prefix else token, (rest[0].strip() or None) if rest else None


def _known_tag(path: Path, line_number: int, tag: str, tags: Collection[str]) -> str:
    if tag in tags:
        return tag
    tag = shortened(tag)
    close = nearest(tag, sorted(tags))
    if tag == "_":
        message = "the tag is '_': this word was never annotated, and no tag is guessed for it"
    else:
        message = f"unknown tag '{tag}'" + (f", did you mean '{close}'?" if close else "")
    raise DataError(message, path=path, line=line_number, fix=f"the tags are {' '.join(sorted(tags))}")


def treebank_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The CoNLL-U files among these, sorted by name; a `.gz` is skipped if the plain file is there too."""
    chosen: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: path.name):  # the plain name sorts before its .gz
        name = path.name.removesuffix(".gz")
        if name.endswith(".conllu"):
            chosen.setdefault(name, path)
    return tuple(chosen.values())


def read_conllu(path: Path, language: str, tags: Collection[str]) -> Iterator[Words]:
    """Sentences of a CoNLL-U file as XTREME flattens them.

    A contraction (range `6-7`) keeps its surface form and takes the tag of its highest word: the one with the fewest
    ancestors, counting enhanced dependencies too; ties are broken by `TAG_ORDER_OF`. Empty nodes (`5.1`) are dropped,
    and so are spaces and zero-width non-joiners inside tokens. A sentence in which all tokens, or all but one, are `_`
    is dropped: the treebank is distributed without its text. (google-research/xtreme@838c13b, ud-conversion-tools and
    utils_preprocess.py.)

    Raises DataError with the line for a wrong number of columns, ids out of order, ranges that do not fit the sentence,
    unreadable heads, unknown tags, and a last sentence without the blank line that ends it.
    """
    tree = _Tree(0, [], [])
    for line_number, line in numbered_lines(path):
        if not line.strip():
            if tree.words or tree.ranges:
                sentence = _flatten(path, tree, language, tags)
                if sentence is not None:
                    yield sentence
            tree = _Tree(line_number, [], [])
        elif not line.startswith("#"):
            _add_line(path, line_number, without_end(line), tree)
    if line.strip():
        message = "the last sentence has no blank line after it"
        raise DataError(message, path=path, line=line_number, fix="download the treebank again: it may be cut off")


def _add_line(path: Path, line_number: int, line: str, tree: _Tree) -> None:
    columns = line.split("\t")
    if len(columns) != CONLLU_COLUMNS:
        message = f"{len(columns)} columns separated by tabs, but CoNLL-U has {CONLLU_COLUMNS}"
        raise DataError(message, path=path, line=line_number, fix="download the treebank again")
    word_id = columns[0]
    if _NUMBER.fullmatch(word_id):
        if int(word_id) != len(tree.words) + 1:
            raise DataError(f"word {word_id} follows word {len(tree.words)}", path=path, line=line_number)
        heads = _heads(path, line_number, columns)
        tree.words.append(_Word(columns[1].strip(), columns[3].strip(), heads, line_number))
    elif (span := _RANGE.fullmatch(word_id)) is not None:
        tree.ranges.append(_Range(int(span[1]), int(span[2]), columns[1].strip()))
    elif re.fullmatch(r"\d+\.\d+", word_id) is None:
        raise DataError(
            f"'{shortened(word_id)}' is not the id of a word, range or empty node", path=path, line=line_number
        )


def _heads(path: Path, line_number: int, columns: Sequence[str]) -> tuple[int, ...]:
    head, enhanced = columns[6], columns[8]
    if head != "_" and not _NUMBER.fullmatch(head):
        raise DataError(f"the head '{shortened(head)}' is not a number", path=path, line=line_number)
    heads = [] if head == "_" else [int(head)]
    if enhanced != "_":
        # heads that are empty nodes ("5.1") do not count: XTREME's converter skips them
        heads += [int(given) for part in enhanced.split("|") if _NUMBER.fullmatch(given := part.split(":")[0])]
    return tuple(heads)


def _flatten(path: Path, tree: _Tree, language: str, tags: Collection[str]) -> Words | None:
    tokens: list[tuple[str, _Word]] = []
    position = 1
    for span in sorted(tree.ranges):
        if not position <= span.first < span.last <= len(tree.words):
            message = f"the range {span.first}-{span.last} does not fit the sentence that begins here"
            raise DataError(message, path=path, line=tree.line + 1)
        tokens += [(word.form, word) for word in tree.words[position - 1 : span.first - 1]]
        tokens.append((span.form, tree.words[_highest(tree.words, span, language) - 1]))
        position = span.last + 1
    tokens += [(word.form, word) for word in tree.words[position - 1 :]]
    num_blank = sum(form == "_" for form, _ in tokens)
    if num_blank and num_blank >= len(tokens) - 1:
        return None
    return Words(
        tuple(form.replace(ZERO_WIDTH_NON_JOINER, "").replace(" ", "") for form, _ in tokens),
        tuple(_known_tag(path, word.line, word.tag, tags) for _, word in tokens),
    )


def _highest(words: Sequence[_Word], span: _Range, language: str) -> int:
    depths = {position: _num_ancestors(words, position) for position in range(span.first, span.last + 1)}
    highest = [position for position, depth in depths.items() if depth == min(depths.values())]
    order = TAG_ORDER_OF.get(language, TAG_ORDER)
    ranks = {tag: rank for rank, tag in enumerate(order)}
    return min(highest, key=lambda position: ranks.get(words[position - 1].tag, len(ranks)))


def _num_ancestors(words: Sequence[_Word], position: int) -> int:
    """The number of words above this one, including the root 0; safe with the cycles of enhanced graphs."""
    seen: set[int] = set()
    waiting = [position]
    while waiting:
        word = waiting.pop()
        for head in words[word - 1].heads if 0 < word <= len(words) else ():
            if head not in seen:
                seen.add(head)
                waiting.append(head)
    return len(seen - {position})
