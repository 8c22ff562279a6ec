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
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import aligned_lines
from viaduct.tasks.published import counts

_OTHER_CODES = {"ar": "arb", "fa": "fas", "ms": "msa", "sw": "swa", "tl": "fil", "zh": "zho-CN"}
CODES = {code: _OTHER_CODES.get(code, TABLE[code].iso3) for code in XTREME if code not in ("en", "jv")}
"""Our language code -> the code in NTREX's file names."""


def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """One pair per line, English first, without a label; ids count from 0, the same line in every language."""
    for index, (english, other) in enumerate(aligned_lines(files["english"][0], files["other"][0])):
        yield Pair(str(index), language, english, other, None)


def _roles(folder: str) -> dict[str, str]:
    """Role -> path pattern of each of the two files."""
    return {"english": f"{folder}/newstest2019-src.eng.txt", "other": f"{folder}/newstest2019-ref.{{language}}.txt"}


CARD = Task(
    name="ntrex",
    title="NTREX-128",
    kind="parallel",
    languages=tuple(CODES),
    sources=sources("official", read, _roles("NTREX-128"), _roles("ntrex/NTREX-128"), splits="train", languages=CODES),
    expected=counts(CODES, train=1_997),
    licence="CC BY-SA 4.0",
    citation="Federmann, Kocmi, Xin 2022: NTREX-128 - News Test References for MT Evaluation of 128 Languages",
    differs="NTREX is published as a test set for translation; using it for training rules it out for evaluation.",
)
