"""Strict parsing of JSON in data and predictions: what Python's parser would silently accept is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from viaduct.errors import DataError, shortened


def json_value(
    text: str | bytes, path: Path | None = None, line: int = 1, fix: str | None = None, *, unique: bool = True
) -> Any:
    """The value of JSON text; `line`: the number of its first line in the file.

    Raises DataError with the line for invalid JSON, a duplicate key in an object (if not `unique`, the last one counts
    instead), NaN and infinite numbers, and brackets nested too deeply or numbers too long to parse.
    """

    def no_number(name: str) -> float:
        raise DataError(f"{name} is not a finite number", path=path, line=line, fix=fix)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if unique and len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice = shortened(max(names, key=names.count))
            raise DataError(f"the key {twice!r} occurs twice in the object", path=path, line=line, fix=fix)
        return made

    try:
        return json.loads(text, parse_constant=no_number, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg.removesuffix(' starting at')} at character {error.colno:,}"
        raise DataError(message, path=path, line=line + error.lineno - 1, fix=fix) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON that can be read: {error}", path=path, line=line, fix=fix) from error
