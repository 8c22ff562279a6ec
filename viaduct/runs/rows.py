"""The rows that a recipe reads: a task, split and language after the recipe's declared substitutions.

This is the only place that applies a substitution, so that plan, training, prediction and scoring see the same rows. It
reads nothing that was not requested, and substitutes nothing that was not declared. It also defines when two rows are
the same, for finding rows that are both trained and evaluated on (`text_key`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from viaduct.errors import DataError, UsageError
from viaduct.languages import ENGLISH
from viaduct.metrics.drawn import connected
from viaduct.rows import Row, Span
from viaduct.runs.parts import Substitution
from viaduct.tasks.card import Dataset, Task
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.used_files import Folders

Need = tuple[str, str, str]
"""(task, split, language), before substitution."""

Trained = dict[Need, Need | None]
"""Rows that are trained on -> rows whose ids they must have; None: all rows are used."""

WHOLE = (0.0, 1.0)
"""The `part` of a substitution that takes all rows."""


def used_files(need: Need) -> str:
    """The name in a fingerprint for the files that rows refer to, such as images."""
    return f"{' '.join(need)} files"


@dataclass(frozen=True)
class Loaded:
    """Rows of one task, split and language after substitution, and the substitution in words."""

    rows: tuple[Row, ...]
    substitution: str | None


def substitution_for(task: str, split: str, substitutions: Iterable[Substitution]) -> Substitution | None:
    """The declared substitution for this split; None if there is none. Raises UsageError if there are two."""
    found = [one for one in substitutions if (one.task, one.split) == (task, split)]
    if len(found) > 1:
        raise UsageError(
            f"two substitutions are declared for {task} {split}: {'; '.join(one.words() for one in found)}",
            fix="keep one of them",
        )
    return found[0] if found else None


def concerning(substitutions: Sequence[Substitution], needs: Iterable[Need]) -> tuple[Substitution, ...]:
    """The substitutions for the splits that are read, by task in the order of the needs."""
    splits: dict[str, set[str]] = {}
    for task, split, _ in needs:
        splits.setdefault(task, set()).add(split)
    return tuple(
        one for task, read in splits.items() for one in substitutions if one.task == task and one.split in read
    )


def source_of(task: str, split: str, substitutions: Iterable[Substitution]) -> tuple[str, str]:
    """(task, split) whose files are read for this split after substitution."""
    substitution = substitution_for(task, split, substitutions)
    return (task, split) if substitution is None else (substitution.use_task or task, substitution.use_split)


class RecipeData:
    """A data folder as the stages of a recipe read it."""

    def __init__(self, folder: DataFolder, limit: int | None = None) -> None:
        """`limit`: maximum number of rows per language and split."""
        self.folder, self.limit = folder, limit
        self._groups: dict[Need, dict[str, str]] = {}
        self._contexts: dict[str, frozenset[str]] = {}
        self._test_keys: dict[str, frozenset[int]] = {}

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self.folder.root

    def task(self, name: str) -> Task:
        """The card of this name. Raises UsageError with the nearest name if there is none."""
        return self.folder.catalogue.task(name)

    def load(self, task: str, split: str, language: str, substitutions: Sequence[Substitution] = ()) -> Loaded:
        """The rows of one split and language, with the substitution applied.

        Raises DataError if files are missing or damaged, or if a substitution leaves no row.
        """
        substitution = substitution_for(task, split, substitutions)
        name, used_split = source_of(task, split, substitutions)
        dataset = self.folder.read(name, used_split, language)
        if substitution is None:
            return Loaded(self._limited(dataset.rows), None)
        rows = self._substituted(dataset, substitution)
        if not rows:
            raise DataError(
                f"the substitution '{substitution.words()}' leaves no row in {language}",
                path=dataset.paths[0],
                fix="widen its `part`",
            )
        return Loaded(self._limited(rows), substitution.words())

    def _limited(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """As many rows as the limit allows, in their order: the same ones each time, drawn from the whole file because
        it may be sorted by label; linked rows (a sentence and its translations) are kept or dropped together."""
        if self.limit is None or len(rows) <= self.limit:
            return rows
        links = _linked(rows)
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(links.get(row.id) or row.id, []).append(row.id)
        kept: set[str] = set()
        for name in sorted(groups, key=fraction):
            if kept and len(kept) + len(groups[name]) > self.limit:
                break
            kept.update(groups[name])
        return tuple(row for row in rows if row.id in kept)

    def fingerprint(
        self,
        needs: Iterable[Need],
        substitutions: Sequence[Substitution] = (),
        seen: Folders | None = None,
    ) -> dict[str, str]:
        """ "task split language" -> SHA-256 of the files read for it, after substitution, not including file names. If
        rows refer to files (images), also "task split language files" -> the hash of these. `seen`: folders that the
        caller trusts not to change."""
        seen = seen or Folders()
        found: dict[str, str] = {}
        for task, split, code in needs:
            found[f"{task} {split} {code}"] = self._digest((task, split, code), substitutions)
            source = (*source_of(task, split, substitutions), code)
            if (used := self.folder.used_digest(*source, seen)) is not None:
                found[used_files((task, split, code))] = used
        return found

    def _digest(self, need: Need, substitutions: Sequence[Substitution]) -> str:
        task, split, language = need
        substitution = substitution_for(task, split, substitutions)
        name, used_split = source_of(task, split, substitutions)
        read: list[Need] = [(name, used_split, language)]
        if substitution is not None:
            if substitution.part != WHOLE and self._has_english(name, used_split):
                read.append((name, used_split, ENGLISH))
            if substitution.without_contexts_of is not None:
                read.append((substitution.without_contexts_of, "test", ENGLISH))
            for other in substitution.without_rows_of:
                read += [(other, "test", code) for code in self._test_languages(other)]
        digests = [list(self.folder.digest(*one)) for one in read]
        digests += [] if self.limit is None else [["limit", str(self.limit)]]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    def _substituted(self, dataset: Dataset, substitution: Substitution) -> tuple[Row, ...]:
        rows = dataset.rows
        if substitution.without_contexts_of is not None:
            forbidden = self._contexts_of(substitution.without_contexts_of)
            rows = tuple(row for row in rows if _plain(_context(row, substitution)) not in forbidden)
        if substitution.without_rows_of:
            evaluated = frozenset[int]().union(*map(self._test_keys_of, substitution.without_rows_of))
            rows = tuple(row for row in rows if text_key(row) not in evaluated)
        low, high = substitution.part
        if substitution.part == WHOLE:
            return rows
        groups = self._groups_of((dataset.task, dataset.split, dataset.language))
        if dataset.language != ENGLISH and self._has_english(dataset.task, dataset.split):
            # a translation goes where its original goes
            english = self._groups_of((dataset.task, dataset.split, ENGLISH))
            groups = {**groups, **{id: english[id] for id in groups if id in english}}
        return tuple(row for row in rows if low <= fraction(groups[row.id]) < high)

    def _has_english(self, name: str, split: str) -> bool:
        return ENGLISH in self.task(name).languages and self.folder.has(name, split, ENGLISH)

    def _test_languages(self, name: str) -> tuple[str, ...]:
        """The languages whose test files are present."""
        return tuple(code for code in self.task(name).languages if self.folder.has(name, "test", code))

    def _test_keys_of(self, name: str) -> frozenset[int]:
        if name not in self._test_keys:
            codes = self._test_languages(name)
            self._test_keys[name] = frozenset(
                text_key(row) for code in codes for row in self.folder.read(name, "test", code).rows
            )
        return self._test_keys[name]

    def _groups_of(self, need: Need) -> dict[str, str]:
        """Row id -> the text that identifies its group; rows of one group are never separated."""
        if need not in self._groups:
            rows = self.folder.read(*need).rows
            links = _linked(rows)
            self._groups[need] = {row.id: links.get(row.id) or row.group for row in rows}
        return self._groups[need]

    def _contexts_of(self, name: str) -> frozenset[str]:
        if name not in self._contexts:
            rows = self.folder.read(name, "test", ENGLISH).rows
            self._contexts[name] = frozenset(_plain(row.context) for row in rows if isinstance(row, Span))
        return self._contexts[name]


def fraction(group: str) -> float:
    """A number in [0, 1) that depends only on the group's text: the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def _linked(rows: Iterable[Row]) -> Mapping[str, str]:
    """Row id -> smallest id of the rows it is linked with (a sentence and its translations), directly or indirectly;
    rows without links are not included."""
    return connected((row.id, other) for row in rows for other in row.links)


def _context(row: Row, substitution: Substitution) -> str:
    if not isinstance(row, Span):
        raise UsageError(
            f"'{substitution.words()}': without_contexts_of needs rows with a context",
            fix="remove `without_contexts_of` from this substitution",
        )
    return row.context


def _plain(text: str) -> str:
    return " ".join(text.split())


def text_key(row: Row) -> int:
    """A 64-bit number for the text that must not be in both training and evaluation rows (`row.compared`); equal for
    equal letters, digits and signs (+, ->, $).

    Case, blanks, punctuation, tokenisation, the order of a pair and labels do not count.
    """
    return letters_key(all_letters(row.compared))


@lru_cache(maxsize=256)  # the questions about a paragraph are adjacent
def all_letters(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The letters of each text, sorted so that the texts' order does not matter; a text without any is unchanged."""
    return tuple(sorted(letters(text) or text for text in texts))


def letters_key(texts: tuple[str, ...]) -> int:
    """The number that `text_key` gives, from the `all_letters` of a row."""
    return int.from_bytes(hashlib.blake2b("\n".join(texts).encode(), digest_size=8).digest(), "big")


def letters(text: str) -> str:
    """The letters, digits and signs of a text in lower case."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return folded.translate(_KEPT)


class _Kept(dict[int, int | None]):
    """Character -> itself if it is a letter, a digit or a meaningful sign (arrow, plus, currency), else None: quotes,
    accents, blanks. Filled as characters occur: a whole set of rows has only a few hundred, and `translate` looks them
    up in C, whereas the replacement function of a pattern would be called for every gap between words."""

    def __missing__(self, code: int) -> int | None:
        one = chr(code)
        is_kept = one.isalnum() or unicodedata.category(one) in ("Sm", "So", "Sc")
        return self.setdefault(code, code if is_kept else None)


_KEPT = _Kept()
