"""Ways to damage data files: each turns a file's bytes into other bytes. `tests/campaign.py` damages all files."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]


def _place(content: bytes, random: Random, pattern: bytes) -> tuple[int, int]:
    """The extent of a random match of the pattern; an empty one at the end if there is no match."""
    found = [match.span() for match in re.finditer(pattern, content)]
    return random.choice(found) if found else (len(content), len(content))


def _replaced(pattern: bytes, by: bytes) -> Damage:
    def damage(content: bytes, random: Random) -> bytes:
        start, stop = _place(content, random, pattern)
        return content[:start] + by + content[stop:]

    return damage


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def _cut_after_line(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random, rb"\n")[1]]


def _flip(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]


def _some_gone(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + content[at + random.randint(1, 60) :]


def _line(change: Callable[[list[bytes], int], None]) -> Damage:
    def damage(content: bytes, random: Random) -> bytes:
        lines = content.splitlines(keepends=True)
        change(lines, random.randrange(len(lines)))
        return b"".join(lines)

    return damage


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(1 << 29), 1, mtime=0)


_STRING = rb'"(?:[^"\\]|\\.)*"'
_LONG = b"x" * 300_000

DAMAGES: dict[str, Damage] = {
    "cut": _cut,
    "cut after a line": _cut_after_line,
    "a bit flipped": _flip,
    "some bytes gone": _some_gone,
    "a line gone": _line(lambda lines, at: lines.__delitem__(at)),
    "a line twice": _line(lambda lines, at: lines.insert(at, lines[at])),
    "a line moved": _line(lambda lines, at: lines.insert(0, lines.pop(at))),
    "a blank line": _line(lambda lines, at: lines.insert(at, b"\n")),
    "all twice": lambda content, _: content * 2,
    "a letter": _replaced(rb"[a-z]", b"q"),
    "a mark gone": _replaced(rb'"', b""),
    "a mark more": _replaced(rb"[a-z ]", b'"'),
    "a tab gone": _replaced(rb"\t", b""),
    "a tab as a blank": _replaced(rb"\t", b" "),
    "tabs as blanks": lambda content, _: content.replace(b"\t", b" "),
    "a tab more": _replaced(rb"[a-z ]", b"\t"),
    "NUL": _replaced(rb"[a-z ]", b"\0"),
    "a byte order mark": lambda content, _: b"\xef\xbb\xbf" + content,
    "a byte order mark inside": _replaced(rb"\n", b"\n\xef\xbb\xbf"),
    "Latin-1": _replaced(rb"[a-z]", b"\xe9"),
    "UTF-16": lambda content, _: content.decode("utf-8", "replace").encode("utf-16"),
    "CRLF": lambda content, _: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "no last line end": lambda content, _: content.removesuffix(b"\n").removesuffix(b"\r"),
    "a Git LFS pointer": lambda _content, _: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 5\n",
    "a web page": lambda _content, _: b"\n<!DOCTYPE html>\n<html><body>\n<p>Sign in</p>\n</body></html>\n",
    "empty": lambda _content, _: b"",
    "only line ends": lambda _content, _: b"\n" * 9,
    "zeros": lambda content, _: bytes(len(content)),
    "50,000 brackets": _replaced(_STRING, b"[" * 50_000),
    "only brackets": lambda _content, _: b"[" * 50_000 + b"\n",
    "a word of 300,000 letters": _replaced(rb"[a-z]+", _LONG),
    "a number of 5,000 digits": _replaced(rb"\d+", b"9" * 5_000),
    "null": _replaced(_STRING, b"null"),
    "a number for a text": _replaced(_STRING, b"7"),
    "a list for a text": _replaced(_STRING, b'["a", 7]'),
    "NaN": _replaced(_STRING, b"NaN"),
    "half a character": _replaced(rb'(?<=[a-z])"', rb'\ud83d"'),
    "NUL escaped": _replaced(rb'(?<=[a-z])"', rb'\u0000"'),
    "a key twice": _replaced(rb"\{(?=\")", b'{"label": 1, "label": 0, "id": "7", "id": "8", '),
    "compressed": lambda content, _: gzip.compress(content, mtime=0),
    "compressed and cut": lambda content, random: gzip.compress(content, mtime=0)[: -random.randint(1, 12)],
    "a bomb": lambda _content, _: _bomb(),
}
"""Name -> damage. A damage that finds nothing to change may leave the content unchanged."""
