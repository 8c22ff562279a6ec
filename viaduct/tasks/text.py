"""Plain text in the 40 languages, one sentence or short paragraph per line, for masked-LM pretraining and replay.

The user provides the files, `text/<language>.txt.gz` (gzip or plain bytes, told apart by content). A row is a line:
    "The tea has gone cold."
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.languages import XTREME
from viaduct.rows import Sentence
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import text_lines


def read(files: Files, language: str, _split: str) -> Iterator[Sentence]:
    """The lines of the file; ids count from 0. Raises DataError for blank lines and a last line without a line end."""
    for index, line in enumerate(text_lines(files["rows"][0])):
        yield Sentence(str(index), language, line, match=())


CARD = Task(
    name="text",
    title="Plain text",
    kind="text",
    languages=XTREME,
    sources=sources("official", read, "text/{language}.txt.gz", splits="train"),
    licence="that of the text the user brings",
    citation="",
    differs="There is no published text to compare with: results from it say which files (by checksum) they used.",
)
