"""The miniature world as its publishers and the Hub would ship it, on a local server.

Also a program: `python publications.py KNOWN ARGUMENTS` runs `viaduct ARGUMENTS` with the sizes, hashes and counts of
that world (KNOWN, a JSON file) in place of the real ones. Nothing else is changed, and all goes through the server.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow
import pyarrow.parquet

from viaduct.errors import DataError
from viaduct.fetching import publishers
from viaduct.fetching.publishers import PublishedFile
from viaduct.tasks.card import Task, patterns, read, splits_of
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.panx import LABELS

MIRROR = "/mirror"
"""Path on the server below which the publishers' hosts are."""


def publish(world: Path, names: Sequence[str]) -> tuple[dict[str, bytes], dict[str, object]]:
    """(server path -> file, what is known about the files beforehand) for these cards of the miniature world."""
    catalogue = Catalogue.builtin()
    files: dict[str, bytes] = {}
    counts: dict[str, dict[str, int]] = {}
    for card in map(catalogue.task, names):
        counts[card.name] = _counts(card, world)
        for template in publishers.SOURCES.get(card.name, ()):
            for file in {template.of(split, code) for split in splits_of(card) for code in card.languages} - {None}:
                assert file is not None
                content = _content(file, world)
                if content is not None:
                    parts = urlsplit(file.address)
                    files[f"{MIRROR}/{parts.netloc}{parts.path}"] = content
    return files, {"counts": counts, "hashes": {path: _known(content) for path, content in files.items()}}


def _known(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def _counts(card: Task, world: Path) -> dict[str, int]:
    """ "language split" -> number of rows in the world."""
    found = {}
    for split in splits_of(card):
        for code in card.languages:
            try:
                found[f"{code} {split}"] = len(read(card, world, code, split).rows)
            except DataError:
                continue
    return found


def _content(file: PublishedFile, world: Path) -> bytes | None:
    if not file.keep:
        path = world / file.to
        return path.read_bytes() if path.is_file() else None
    root = world / file.to
    members = {path.relative_to(root): path for pattern in file.keep for path in root.glob(pattern) if path.is_file()}
    out = io.BytesIO()
    if file.address.endswith(".zip"):
        with zipfile.ZipFile(out, "w") as archive:
            for name, path in members.items():
                archive.write(path, str(name))
    else:
        with tarfile.open(fileobj=out, mode="w:bz2" if file.address.endswith("bz2") else "w:gz") as tape:
            for name, path in members.items():
                tape.add(path, str(name))
    return out.getvalue() if members else None


def hub_files(card: Task, world: Path) -> dict[str, bytes]:
    """The Parquet files of a tagging card on the Hub: name -> content."""
    files = {}
    source = next(one for one in card.sources if one.hub is not None)
    for pair in _counts(card, world):
        code, split = pair.split()
        wanted = patterns(source, code, split)
        assert wanted is not None
        rows = read(card, world, code, split).rows
        numbers = [[LABELS.index(tag) for tag in row.tags] for row in rows]
        table = pyarrow.table({"tokens": [list(row.tokens) for row in rows], "ner_tags": numbers})
        out = io.BytesIO()
        pyarrow.parquet.write_table(table, out)
        files[wanted["rows"].replace("*", "00000-of-00001")] = out.getvalue()
    return files


def believe(known: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
    """Replace what this process knows about the real files with what is known about those of the small world."""
    for name, counts in known["counts"].items():
        card = Catalogue.builtin().task(name)
        assert isinstance(card.expected, dict)
        card.expected.clear()
        card.expected.update({tuple(pair.split()): rows for pair, rows in counts.items()})
        files = publishers.SOURCES.get(name, ())
        assert isinstance(publishers.SOURCES, dict)
        publishers.SOURCES[name] = tuple(_believed(file, known["hashes"]) for file in files)


def _believed(file: PublishedFile, hashes: Mapping[str, Sequence[object]]) -> PublishedFile:
    parts = urlsplit(file.address)
    size, sha256 = hashes.get(f"{MIRROR}/{parts.netloc}{parts.path}", (None, None))
    return replace(file, size=size, sha256=sha256)


if __name__ == "__main__":
    from viaduct.cli import main

    believe(json.loads(Path(sys.argv[1]).read_text()))
    sys.argv = ["viaduct", *sys.argv[2:]]
    main()
