"""CCG supertags of the Parallel Meaning Bank 4.0.0 (gold): the category of every word, in en, de, it and nl.

A document of en/gold/train.conll (columns: token, token, symbol, semantic tag, category, sense, roles):
    # newdoc id = p02/d0007
    # raw sent = Tea boils.
    Tea    Tea    tea   CON  n         tea.n.01   []
    boils  boils  boil  ENS  s:dcl\\np  boil.v.01  [Theme]
    .      .      .     NIL  .         O          []

Unlike CCGbank, it has short sentences from other texts, another notation and other categories; but it is free, and it
has other languages to evaluate on. A space inside a token is written `~`. Most documents are one sentence, and a row is
always one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.metrics.tagging import tag_accuracy
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.ccg import category
from viaduct.tasks.formats import numbered_lines, without_end
from viaduct.tasks.published import counts_of

LANGUAGES = ("en", "de", "it", "nl")
_COLUMNS = 7
_CATEGORY = 4

_COUNTS = {"en": (7_745, 1_174, 1_053), "de": (0, 559, 547), "it": (0, 540, 461), "nl": (0, 438, 491)}
"""Sentences in train, dev and test."""


def read(files: Files, language: str, _split: str) -> Iterator[Tagged]:
    """The sentences of a file; ids combine the document's id and the sentence number in it: "p02/d0007.1"."""
    path = files["rows"][0]
    document, sentence = "", 0
    tokens: list[str] = []
    tags: list[str] = []
    for number, ended in numbered_lines(path):
        line = without_end(ended)
        if line.startswith("# newdoc id = "):
            document, sentence = line.removeprefix("# newdoc id = ").strip(), 0
        if line.startswith(("# ", "### ")):
            continue
        if line.strip():
            fields = line.split("\t")
            if len(fields) != _COLUMNS or not document:
                message = f"{len(fields)} columns, not {_COLUMNS}" if document else "a token before any '# newdoc id'"
                raise DataError(message, path=path, line=number, fix="use the release's own files")
            tokens.append(fields[0].replace("~", " "))
            tags.append(category(fields[_CATEGORY], path, number))
        elif tokens:
            sentence += 1
            yield Tagged(f"{document}.{sentence}", language, tuple(tokens), tuple(tags))
            tokens, tags = [], []
    if tokens:
        message = "the last sentence has no blank line after it"
        raise DataError(message, path=path, line=number, fix="download the file again: it may be cut off")


CARD = Task(
    name="ccg_pmb",
    title="CCG supertagging (Parallel Meaning Bank 4.0.0)",
    kind="tagged",
    languages=LANGUAGES,
    sources=sources(
        "official",
        read,
        "ccg_pmb/4.0.0/{language}/gold/{split}.conll",
        "DRS_parsing/parsing/layer_data/4.0.0/{language}/gold/{split}.conll",
    ),
    metric=tag_accuracy,
    metrics=("token_accuracy",),
    trained_on="ccg_pmb",
    expected=counts_of(("train", "dev", "test"), _COUNTS),
    licence="ODC-BY (Parallel Meaning Bank); files as distributed with DRS_parsing (MIT)",
    citation="Abzianidze et al. 2017: The Parallel Meaning Bank (EACL); files: github.com/RikVN/DRS_parsing",
    differs=(
        "Releases count documents (en 7,668 / 1,169 / 1,048); the numbers here are sentences, which the files mark "
        "with '# raw sent'. The tags are the 294 categories of the English training rows. A category that training "
        "never saw counts as wrong: 0.2 % of the words in English dev, 0.1 % in test, and 2.5 to 4.0 % in the other "
        "languages, whose full stops, for example, are s:dcl\\s:dcl. The release's fourth English file, eval, is not "
        "read."
    ),
)
