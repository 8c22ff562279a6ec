"""Answers in contexts that were translated: where they stand now, or that they are lost."""

from __future__ import annotations

from dataclasses import replace

from viaduct.rows import Answer, Span


def realigned(row: Span) -> Span | None:
    """The row with each answer at the nearest place where it stands, in the spelling of the context; None where one
    stands nowhere. A row without answers is as it was."""
    if row.answers is None:
        return row
    found = [placed for answer in row.answers if (placed := _placed(answer, row.context)) is not None]
    return replace(row, answers=tuple(found)) if len(found) == len(row.answers) else None


def _placed(answer: Answer, context: str) -> Answer | None:
    text = answer.text.strip()
    if not text:
        return None
    for wanted, within in ((text, context), (text.lower(), context.lower())):
        if len(within) != len(context):
            break  # lower case of another length would shift places
        found = [at for at in range(len(within)) if within.startswith(wanted, at)]
        if found:
            start = min(found, key=lambda at: abs(at - answer.start))
            return Answer(context[start : start + len(text)], start)
    return None
