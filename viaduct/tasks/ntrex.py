"""NTREX-128: 1,997 English news sentences with translations into 38 of XTREME's languages (all but Javanese).

Line i of newstest2019-ref.fil.txt translates line i of newstest2019-src.eng.txt:
    "The tea has gone cold."  <->  "Lumamig na ang tsaa."

Here it is parallel text to train on (translation LM, fusion), so its only split is called "train".
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.languages import LANGUAGES as TABLE
from viaduct.languages import XTREME
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Source, Task
from viaduct.tasks.formats import aligned_lines

_OTHER_CODES = {"ar": "arb", "fa": "fas", "ms": "msa", "sw": "swa", "tl": "fil", "zh": "zho-CN"}
CODES = {code: _OTHER_CODES.get(code, TABLE[code].iso3) for code in XTREME if code not in ("en", "jv")}
"""Our code -> the word in NTREX's file names."""


def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """One pair per line, English first, without a label; ids count from 0, the same line in every language."""
    for index, (english, other) in enumerate(aligned_lines(files["english"][0], files["other"][0])):
        yield Pair(str(index), language, english, other, None)


def _source(folder: str) -> Source:
    roles = {"english": f"{folder}/newstest2019-src.eng.txt", "other": f"{folder}/newstest2019-ref.{{language}}.txt"}
    return Source("official", roles, read, {"train": "train"}, CODES)


CARD = Task(
    name="ntrex",
    version=1,
    title="NTREX-128",
    kind="parallel",
    languages=tuple(CODES),
    sources=(_source("NTREX-128"), _source("ntrex/NTREX-128")),
    metric=None,
    metrics=(),
    trained_on=None,
    expected={(language, "train"): 1_997 for language in CODES},
    licence="CC BY-SA 4.0",
    citation="Federmann, Kocmi, Xin 2022: NTREX-128 - News Test References for MT Evaluation of 128 Languages",
    differs="NTREX is published as a test set for translation; using it for training rules it out for evaluation.",
)
