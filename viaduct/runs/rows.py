"""Rows as a recipe asks for them: a task, split and language after the recipe's declared substitutions.

This is the only place that applies a substitution, so that plan, training, prediction and scoring see the same rows. It
reads nothing that was not asked for, and substitutes nothing that was not declared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from viaduct.errors import DataError, UsageError
from viaduct.results.record import DataNote
from viaduct.rows import Row, Span
from viaduct.runs.spec import Substitution
from viaduct.runs.stage import Loaded
from viaduct.runs.texts import text_key
from viaduct.tasks.card import Dataset, file_sha256, locate, read_by_name
from viaduct.tasks.registry import task as card_of

Need = tuple[str, str, str]
"""(task, split, language), before substitution."""

WHOLE = (0.0, 1.0)


def substitution_for(task: str, split: str, substitutions: Iterable[Substitution]) -> Substitution | None:
    """The declared substitution for this split, None when there is none. Raises UsageError when there are two."""
    found = [one for one in substitutions if (one.task, one.split) == (task, split)]
    if len(found) > 1:
        raise UsageError(
            f"two substitutions are declared for {task} {split}: {'; '.join(one.words() for one in found)}",
            fix="keep one of them",
        )
    return found[0] if found else None


def concerning(substitutions: Iterable[Substitution], task: str, splits: tuple[str, ...]) -> tuple[Substitution, ...]:
    """The substitutions for these splits of a task."""
    return tuple(one for one in substitutions if one.task == task and one.split in splits)


def source_of(task: str, split: str, substitutions: Iterable[Substitution]) -> tuple[str, str]:
    """(task, split) whose files are read for this split after substitution."""
    substitution = substitution_for(task, split, substitutions)
    return (task, split) if substitution is None else (substitution.use_task or task, substitution.use_split)


def load(data: Path, task: str, split: str, language: str, substitutions: Iterable[Substitution] = ()) -> Loaded:
    """The rows of one split and language, with the substitution applied and in words; the note counts the file's rows.

    Raises DataError when files are missing or damaged, or when a substitution leaves no row.
    """
    substitution = substitution_for(task, split, substitutions)
    name, used_split = source_of(task, split, substitutions)
    dataset = read_by_name(name, data, language, used_split)
    note = DataNote(
        task=name,
        split=used_split,
        language=language,
        layout=dataset.layout,
        found=len(dataset.rows),
        published=dataset.expected,
    )
    if substitution is None:
        return Loaded(dataset.rows, note, None)
    rows = _substituted(data, dataset, substitution)
    if not rows:
        raise DataError(
            f"the substitution '{substitution.words()}' leaves no row in {language}",
            path=dataset.paths[0],
            fix="widen its `part`",
        )
    return Loaded(rows, note, substitution.words())


def data_fingerprint(data: Path, needs: Iterable[Need], substitutions: Iterable[Substitution] = ()) -> dict[str, str]:
    """ "task split language" -> SHA-256 of the files read for it, after substitution; file names are not part of it."""
    return {
        f"{task} {split} {language}": _files_digest(data, task, split, language, tuple(substitutions))
        for task, split, language in needs
    }


def _files_digest(data: Path, task: str, split: str, language: str, substitutions: tuple[Substitution, ...]) -> str:
    substitution = substitution_for(task, split, substitutions)
    name, used_split = source_of(task, split, substitutions)
    read = [(name, language, used_split)]
    if substitution is not None and substitution.part != WHOLE and _has_english(name, data, used_split):
        read.append((name, "en", used_split))
    if substitution is not None and substitution.without_contexts_of is not None:
        read.append((substitution.without_contexts_of, "en", "test"))
    for other in () if substitution is None else substitution.without_rows_of:
        read += [(other, code, "test") for code in _there(other, data)]
    digests = []
    for card, code, part in read:
        located = locate(card_of(card), data, code, part)
        digests.append([located.source.layout, *(file_sha256(path) for path in located.paths)])
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _substituted(data: Path, dataset: Dataset, substitution: Substitution) -> tuple[Row, ...]:
    rows = dataset.rows
    if substitution.without_contexts_of is not None:
        forbidden = _contexts(data, substitution.without_contexts_of)
        rows = tuple(row for row in rows if _plain(_context(row, substitution)) not in forbidden)
    if substitution.without_rows_of:
        evaluated = frozenset[int]().union(*(_test_keys(data, other) for other in substitution.without_rows_of))
        rows = tuple(row for row in rows if text_key(row) not in evaluated)
    low, high = substitution.part
    if substitution.part == WHOLE:
        return rows
    groups = _groups(dataset.task, data, dataset.language, dataset.split)
    if dataset.language != "en" and _has_english(dataset.task, data, dataset.split):
        groups = {**groups, **_english_groups(dataset.task, data, dataset.split, groups)}
    return tuple(row for row in rows if low <= fraction(groups[row.id]) < high)


def fraction(group: str) -> float:
    """A number in [0, 1) that depends on the group's text only: the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def _english_groups(name: str, data: Path, split: str, own: Mapping[str, str]) -> dict[str, str]:
    """Groups of the English rows with the same ids: a translation goes where its original goes."""
    english = _groups(name, data, "en", split)
    return {id: english[id] for id in own if id in english}


def _has_english(name: str, data: Path, split: str) -> bool:
    return "en" in card_of(name).languages and _is_there(name, data, "en", split)


def _is_there(name: str, data: Path, language: str, split: str) -> bool:
    try:
        locate(card_of(name), data, language, split)
    except DataError:
        return False
    return True


def _there(name: str, data: Path) -> tuple[str, ...]:
    """The languages whose test files are there."""
    return tuple(code for code in card_of(name).languages if _is_there(name, data, code, "test"))


@lru_cache(maxsize=8)
def _test_keys(data: Path, name: str) -> frozenset[int]:
    return frozenset(
        text_key(row) for code in _there(name, data) for row in read_by_name(name, data, code, "test").rows
    )


@lru_cache(maxsize=64)
def _groups(name: str, data: Path, language: str, split: str) -> dict[str, str]:
    """Row id -> the text that stands for its group; rows of one group are never parted."""
    rows = read_by_name(name, data, language, split).rows
    links = _linked(rows)
    return {row.id: links.get(row.id) or row.group for row in rows}


def _linked(rows: Iterable[Row]) -> dict[str, str]:
    """Id of a row that has links -> smallest id of the rows it is linked to, through any number of steps."""
    parent: dict[str, str] = {}

    def root(id: str) -> str:
        while parent.setdefault(id, id) != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    for row in rows:
        for other in row.links:
            low, high = sorted((root(row.id), root(other)))
            parent[high] = low
    return {id: root(id) for id in list(parent)}


@lru_cache(maxsize=8)
def _contexts(data: Path, name: str) -> frozenset[str]:
    rows = read_by_name(name, data, "en", "test").rows
    return frozenset(_plain(row.context) for row in rows if isinstance(row, Span))


def _context(row: Row, substitution: Substitution) -> str:
    if not isinstance(row, Span):
        raise UsageError(
            f"'{substitution.words()}': without_contexts_of needs rows with a context",
            fix="remove `without_contexts_of` from this substitution",
        )
    return row.context


def _plain(text: str) -> str:
    return " ".join(text.split())
