"""One row of each task in two languages, for docs/miniature.md: `python benchmarks/miniature_examples.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from viaduct.miniature.lexicon import OF_TASK
from viaduct.rows import Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

OTHER_LANGUAGE = {
    "xnli": "es", "pawsx": "zh", "udpos": "ar", "panx": "tr", "xquad": "de", "mlqa": "es", "tydiqa": "id",
    "bucc": "fr", "tatoeba": "it",
}  # fmt: skip
"""Task -> the language shown next to English."""


def table(data: Path) -> str:
    """The first test row of every task as a Markdown table, English followed by one other language.

    Raises DataError if the world's files are not in `data`.
    """
    lines = ["| task | language | row | label |", "|---|---|---|---|"]
    for task, other in OTHER_LANGUAGE.items():
        for language in ("en", other) if "en" in OF_TASK[task] else (other,):
            rows = read(Catalogue.builtin().task(task), data, language, "test").rows
            text, label = _shown(rows[0], rows)
            lines.append(f"| {task} | {language} | {text} | {label} |")
    return "\n".join(lines) + "\n"


def captions(data: Path, languages: tuple[str, ...]) -> str:
    """The first training picture's captions in these languages, as a Markdown list."""
    lines = []
    for language in languages:
        suffix = "" if language == "en" else f".{language}"
        path = data / "coco" / "annotations" / f"captions_train2017{suffix}.json"
        first, second = json.loads(path.read_text(encoding="utf-8"))["annotations"][:2]
        lines.append(f"- {language}: `{first['caption']}` `{second['caption']}`\n")
    return "".join(lines)


def _shown(row: Row, rows: tuple[Row, ...]) -> tuple[str, str]:
    if isinstance(row, Pair):
        return f"`{row.first}` `{row.second}`", str(row.label)
    if isinstance(row, Tagged):
        return f"`{' '.join(row.tokens)}`", " ".join(row.tags or ())
    if isinstance(row, Span):
        return f"`{row.context}` `{row.question}`", f"`{row.answers[0].text}`" if row.answers else ""
    matched = next(one for one in rows if isinstance(one, Sentence) and one.match)
    partner = next(one for one in rows if isinstance(one, Sentence) and matched.match and one.id == matched.match[0])
    return f"`{matched.text}`", f"`{partner.text}`"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/miniature_examples.py FOLDER")
    sys.stdout.write(table(Path(sys.argv[1])) + "\n" + captions(Path(sys.argv[1]), ("en", "ko")))
