"""Rows that a recipe both trains on and evaluates on: how many of each training split occur in each evaluation set.

`viaduct.runs.rows.text_key` says when two rows are the same. Translations are not recognised: where a set is translated
from rows that are trained on, only its English side shows it. Text for pretraining is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from viaduct.errors import DataError
from viaduct.languages import ENGLISH
from viaduct.results.record import Record
from viaduct.rows import Row
from viaduct.runs.census import Census, Memory
from viaduct.runs.gaps import target_languages
from viaduct.runs.identity import fingerprint_of
from viaduct.runs.parts import RecipeParts
from viaduct.runs.rows import Need, source_of, text_key
from viaduct.tasks.catalogue import Catalogue

COMPARISON = 4
"""Raised with every change that can change a count, so that remembered ones are not used."""

_Keys = np.ndarray[Any, np.dtype[np.uint64]]


class Overlap(Record):
    """Evaluation rows of one target in one language that are also training rows of one split; never zero of them."""

    arms: tuple[str, ...]
    """Intermediate arms whose training this is."""
    task: str
    split: str
    """What is trained on: "train", or "dev", on which checkpoints are chosen."""
    spoken: str
    """Language of the training rows."""
    target: str
    target_split: str
    language: str
    evaluated: int
    """Evaluation rows that occur in the training rows."""
    of_evaluated: int

    @property
    def training(self) -> str:
        """What is trained on, in words: "mnli train", or "mnli train de"."""
        return f"{self.task} {self.split}" + ("" if self.spoken == ENGLISH else f" {self.spoken}")


def blocking(found: Iterable[Overlap], recipe: RecipeParts, catalogue: Catalogue) -> tuple[Overlap, ...]:
    """Those that no result should rest on: rows that are trained on and evaluated, but for rows that the publishers of
    a benchmark left in both its training and its evaluation files. Choosing checkpoints on such rows does not block."""
    return tuple(one for one in found if one.split == "train" and not _published_so(one, recipe, catalogue))


def _published_so(one: Overlap, recipe: RecipeParts, catalogue: Catalogue) -> bool:
    sources = [
        source_of(*need, recipe.substitutions) for need in ((one.task, one.split), (one.target, one.target_split))
    ]
    return catalogue.task(one.target).trained_on == one.task and sources[0] != sources[1]


def require_none(found: Iterable[Overlap], recipe: RecipeParts, catalogue: Catalogue) -> None:
    """Raise DataError that lists the overlaps that block, if there are any."""
    shared = said(blocking(found, recipe, catalogue))
    if shared:
        raise DataError(
            f"recipe {recipe.name} trains on rows that it evaluates on:" + "".join(f"\n  - {line}" for line in shared),
            fix="leave them out by a substitution (`part`, `without_contexts_of`, `without_rows_of`), or add"
            " --allow-overlap, and the report will say so",
        )


def said(found: Iterable[Overlap]) -> tuple[str, ...]:
    """One line per training split and evaluation set, with what is shared in each language."""
    groups: dict[tuple[str, str, str], list[Overlap]] = {}
    for one in found:
        groups.setdefault((one.training, one.target, one.target_split), []).append(one)
    return tuple(
        f"rows of {training} are evaluated in {target} {target_split}: "
        + ", ".join(f"{one.language} {one.evaluated:,} of {one.of_evaluated:,}" for one in members)
        for (training, target, target_split), members in groups.items()
    )


def overlaps(recipe: RecipeParts, census: Census, memory: Path | None = None) -> tuple[Overlap, ...]:
    """What the recipe both trains on and evaluates on, in the order of its targets, their languages and its arms.

    Compared are, after substitution, the train rows of every intermediate task, in the languages that its arms train
    on, and its English dev rows with all targets, and the English ones that a target is trained on with that target.
    Evaluation rows are those of the target's split in every language that is predicted; rows of other languages than
    English are compared with those of their own. `memory` is a JSON file in which comparisons are remembered by the
    files' content.

    Raises DataError for files that are missing or damaged.
    """
    languages, _ = target_languages(recipe, census, [])
    comparison = _Comparison(recipe, census, memory)
    found = [
        one
        for target in recipe.targets
        for language in languages[target.task]
        for one in comparison.of((target.task, target.split, language))
    ]
    comparison.memory.save()
    return tuple(found)


class _Comparison:
    """Training rows against evaluation rows. Of training rows the numbers are kept, 8 bytes each; evaluation rows are
    read one language at a time, and neither where the result is remembered."""

    def __init__(self, recipe: RecipeParts, census: Census, memory: Path | None) -> None:
        self.recipe, self.data = recipe, census.data
        self.memory = Memory[Overlap | None](memory, TypeAdapter(Overlap | None))
        self.files: dict[Need, dict[str, str]] = {}
        self.trained: dict[Need, _Keys] = {}

    def of(self, evaluated: Need) -> Iterator[Overlap]:
        """The overlaps with this evaluation set."""
        known, theirs = self.memory.known, None
        for trained, arms in _trained(self.recipe, self.data.task(evaluated[0]).trained_on).items():
            if trained[2] not in (ENGLISH, evaluated[2]):
                continue
            key = self._identity(trained, evaluated)
            if key not in known:
                theirs = _keys(self._rows(evaluated)) if theirs is None else theirs
                known[key] = self._compare(trained, evaluated, theirs)
            one = known[key]
            if one is not None:
                yield one.model_copy(update={"arms": arms})

    def _rows(self, need: Need) -> tuple[Row, ...]:
        return self.data.load(*need, self.recipe.substitutions).rows

    def _identity(self, trained: Need, evaluated: Need) -> str:
        files = [self._files(need) for need in (trained, evaluated)]
        declared = [
            {**one.model_dump(), "why": ""}
            for one in self.recipe.substitutions
            if (one.task, one.split) in (trained[:2], evaluated[:2])
        ]
        names = sorted({source_of(*need[:2], self.recipe.substitutions)[0] for need in (trained, evaluated)})
        cards = [self.data.task(name) for name in names]
        versions = [part.version for card in cards for part in (card, *card.parts)]
        return fingerprint_of({"comparison": COMPARISON, "files": files, "declared": declared, "versions": versions})

    def _files(self, need: Need) -> dict[str, str]:
        if need not in self.files:
            self.files[need] = self.data.fingerprint((need,), self.recipe.substitutions)
        return self.files[need]

    def _compare(self, trained: Need, evaluated: Need, theirs: _Keys) -> Overlap | None:
        if trained not in self.trained:
            self.trained[trained] = _keys(self._rows(trained))
        count = int(np.isin(theirs, self.trained[trained]).sum())
        if not count:
            return None
        return Overlap(
            arms=(),
            task=trained[0],
            split=trained[1],
            spoken=trained[2],
            target=evaluated[0],
            target_split=evaluated[1],
            language=evaluated[2],
            evaluated=count,
            of_evaluated=len(theirs),
        )


def _trained(recipe: RecipeParts, on: str | None) -> dict[Need, tuple[str, ...]]:
    """What the encoders are trained on and chosen by that predict a target, itself trained `on` a card -> the arms that
    have it."""
    found: dict[Need, list[str]] = {}
    for arm in recipe.intermediates:
        needs = {(name, "train", code): None for name in arm.tasks for code in arm.languages}
        needs |= {(name, "dev", ENGLISH): None for name in arm.tasks}
        if on is not None:
            needs |= {(on, split, ENGLISH): None for split in ("train", "dev")}
        for need in needs:
            found.setdefault(need, []).append(arm.name)
    return {need: tuple(arms) for need, arms in found.items()}


def _keys(rows: tuple[Row, ...]) -> _Keys:
    return np.fromiter((text_key(row) for row in rows), dtype=np.uint64, count=len(rows))
