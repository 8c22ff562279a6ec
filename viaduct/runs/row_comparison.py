"""Counts how many of the rows that a recipe trains on, or chooses by, occur in each evaluation set.

The counts are of rows that are the same (`viaduct.runs.rows.text_key`), rows that are nearly the same
(`viaduct.runs.near`) and, if an evaluation set has the same ids and labels as the one in the language of the training
rows, translations of rows that are trained on. Plain and parallel text of replay and pretraining is compared line by
line, each side of parallel text separately, with the longest text of an evaluation row. Rows that choose a checkpoint,
a layer or a threshold are only checked for rows that are the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from pydantic import TypeAdapter

from viaduct.languages import ENGLISH
from viaduct.rows import Row
from viaduct.runs.census import Census, Memory
from viaduct.runs.chain import lineage
from viaduct.runs.field import set_fields
from viaduct.runs.gaps import target_languages
from viaduct.runs.identity import fingerprint_of
from viaduct.runs.near import Index, Marks, Sketches
from viaduct.runs.overlap import Overlap
from viaduct.runs.parts import ArmParts, Pretrain, RecipeParts, TargetParts
from viaduct.runs.rows import Need, all_letters, letters_key, source_of
from viaduct.runs.sentence_encoder import CHOOSING_LINES, vectors_of
from viaduct.tasks.used_files import Folders

COMPARISON = 5
"""Bump this with every change that can change a count, so that remembered counts are not used."""

CHECKPOINT, LAYER, THRESHOLD = "checkpoint", "layer", "threshold"
ALIKE, SHARED = 0.99, 0.5
"""Minimum shares if one set is a translation of another: rows with the same label among those with the same id, and
rows with the same id among all."""


def overlaps(recipe: RecipeParts, census: Census, memory: Path | None = None) -> tuple[Overlap, ...]:
    """What the recipe both trains on and evaluates on, in the order of its targets, their languages and its arms.

    After substitution, all targets are compared with the train rows of every intermediate task, in the languages that
    its arms train on, with the text of replay and pretraining, and with the rows that choose; each target is compared
    with the English rows that it is trained on. Evaluation rows are those of the target's split in every language that
    is predicted; rows in languages other than English are compared with those of their own language, and with their
    translations. `memory` is a JSON file in which comparisons are remembered by the files' content.

    Raises DataError for files that are missing or damaged.
    """
    languages, _ = target_languages(recipe, census, [])
    comparison = _Comparison(recipe, census, memory)
    found = [
        one
        for target in recipe.targets
        for language in languages[target.task]
        for one in comparison.of(target, language)
    ]
    comparison.memory.save()
    return tuple(found)


class _Training(NamedTuple):
    """Rows that are trained on, or that choose."""

    need: Need
    chosen: str = ""
    text: bool = False
    lines: int | None = None
    """Number of lines used (the first ones); None: all."""
    originals: Need | None = None
    """Only rows with the ids of these rows are used; None: all."""


_Seen: TypeAlias = tuple[frozenset[str], dict[str, tuple[str, ...]]]

_Letters: TypeAlias = Sequence[tuple[str, ...]]
"""The letters of the texts of each document (`all_letters`)."""


class _Known:
    """What is kept of training rows: a number for each distinct row, and its runs if needed."""

    def __init__(self, documents: _Letters, sketched: bool) -> None:
        unlike = dict(zip(map(letters_key, documents), documents, strict=True))
        self.keys = np.fromiter(unlike, np.uint64, len(unlike))
        self.index = Index(_sketches(unlike.values())) if sketched else None


class _Rows:
    """Evaluation rows in the form in which they are compared; `text`: by their longest text only."""

    def __init__(self, rows: Sequence[Row], text: bool) -> None:
        self.rows = rows
        self._letters = [
            all_letters((max(row.compared, key=len, default=""),) if text else row.compared) for row in rows
        ]
        self._keys = np.fromiter(map(letters_key, self._letters), np.uint64, len(rows))

    @cached_property
    def _runs(self) -> Sketches:
        return _sketches(self._letters)

    def marks(self, known: _Known) -> tuple[Marks, Marks]:
        """Two masks, (rows,) each: rows that are the same as a training row, and others that are nearly the same."""
        same = np.isin(self._keys, known.keys)
        return same, np.zeros_like(same) if known.index is None else known.index.nearly(self._runs) & ~same


class _Comparison:
    """Compares training rows with evaluation rows. Training rows are kept as numbers only (`_Known`); evaluation rows
    are read one language at a time. If the result is remembered, neither is read."""

    def __init__(self, recipe: RecipeParts, census: Census, memory: Path | None) -> None:
        self.recipe, self.census, self.data = recipe, census, census.data
        self.memory = Memory[Overlap | None](memory, TypeAdapter(Overlap | None))
        folders = Folders()
        self.files = cache(lambda need: self.data.fingerprint((need,), recipe.substitutions, folders))
        self.by_arm = {
            arm.name: tuple(need for one in lineage(arm, recipe) for need in _by_arm(one, recipe, census))
            for arm in recipe.intermediates
        }
        self.pretraining = tuple(_pretraining(recipe, census))
        self.known = cache(self._known)
        self.compared = lru_cache(maxsize=4)(lambda need, text: _Rows(self._rows(need), text))
        self.text = lru_cache(maxsize=2)(self._rows)  # some arms use all lines and others the first ones
        self.seen = cache(self._seen)

    def of(self, target: TargetParts, language: str) -> Iterator[Overlap]:
        """The overlaps of a target in a language."""
        evaluated, known = (target.task, target.split, language), self.memory.known
        all_trained = self._trained(target, language)
        for trained, arms in all_trained.items():
            if not self._is_compared(trained, evaluated, all_trained):
                continue
            key = self._identity(trained, evaluated)
            if key not in known:
                known[key] = self._compare(trained, evaluated)
            one = known[key]
            if one is not None:
                yield one.model_copy(update={"arms": arms, "chosen": trained.chosen})

    def _is_compared(self, trained: _Training, evaluated: Need, others: Container[_Training]) -> bool:
        """Whether the rows may contain evaluated rows or their translations. If rows choose in several languages, those
        of the evaluated language suffice."""
        if trained.need[2] in (ENGLISH, evaluated[2]):
            return True
        own = trained._replace(need=(*trained.need[:2], evaluated[2]))
        is_told = bool(trained.chosen) and own in others
        return not is_told and self._spoken_of(trained, evaluated) is not None

    def _trained(self, target: TargetParts, code: str) -> dict[_Training, tuple[str, ...]]:
        """Rows that train or choose the encoders that predict a target in a language -> the arms that use them."""
        found: dict[_Training, list[str]] = {}
        shared = (*_by_target(target, code, self.recipe, self.census), *self.pretraining)
        for arm in self.recipe.intermediates:
            added = _by_fields(arm, target, self.recipe, self.census)
            for one in dict.fromkeys((*self.by_arm[arm.name], *shared, *added)):
                found.setdefault(one, []).append(arm.name)
        return {one: tuple(arms) for one, arms in found.items()}

    def _rows(self, need: Need) -> tuple[Row, ...]:
        return self.data.load(*need, self.recipe.substitutions).rows

    def _identity(self, trained: _Training, evaluated: Need) -> str:
        needs = [trained.need, evaluated, *([] if trained.originals is None else [trained.originals])]
        if (spoken := self._spoken_of(trained, evaluated)) is not None:
            needs.append(spoken)
        declared = [
            {**one.model_dump(), "why": ""}
            for one in self.recipe.substitutions
            if (one.task, one.split) in [need[:2] for need in needs]
        ]
        names = sorted({source_of(*need[:2], self.recipe.substitutions)[0] for need in needs})
        cards = [self.data.task(name) for name in names]
        versions = [part.version for card in cards for part in (card, *card.parts)]
        how = [bool(trained.chosen), trained.text, trained.lines]
        files = [self.files(need) for need in needs]
        compared = {"comparison": COMPARISON, "files": files, "declared": declared, "versions": versions, "how": how}
        return fingerprint_of(compared)

    def _compare(self, trained: _Training, evaluated: Need) -> Overlap | None:
        rows = self.compared(evaluated, trained.text)
        same = near = np.zeros(len(rows.rows), bool)
        if trained.need[2] in (ENGLISH, evaluated[2]):
            same, near = rows.marks(self.known(trained))
        translated = self._translated(trained, evaluated, rows.rows) & ~same & ~near
        if not (same | near | translated).any():
            return None
        return Overlap(
            arms=(),
            task=trained.need[0],
            split=trained.need[1],
            spoken=trained.need[2],
            target=evaluated[0],
            target_split=evaluated[1],
            language=evaluated[2],
            evaluated=int(same.sum()),
            of_evaluated=len(rows.rows),
            near=int(near.sum()),
            translated=int(translated.sum()),
            text=trained.text,
            lines=trained.lines,
        )

    def _known(self, trained: _Training) -> _Known:
        rows = (self.text if trained.text else self._rows)(trained.need)[: trained.lines]
        if trained.originals is not None:
            ids = {row.id for row in self._rows(trained.originals)}
            rows = tuple(row for row in rows if row.id in ids)
        texts = [(text,) for row in rows for text in row.texts] if trained.text else [row.compared for row in rows]
        return _Known(list(map(all_letters, texts)), sketched=not trained.chosen)

    def _spoken_of(self, trained: _Training, evaluated: Need) -> Need | None:
        """The evaluation set in the language of the training rows; None if that is the evaluated language, if the rows
        are text in a language other than English, or if there is no such set."""
        spoken, source = trained.need[2], source_of(*evaluated[:2], self.recipe.substitutions)
        if spoken == evaluated[2] or (trained.text and spoken != ENGLISH):
            return None
        return None if self.census.problem(*source, spoken, labelled=False) else (*evaluated[:2], spoken)

    def _translated(self, trained: _Training, evaluated: Need, rows: Sequence[Row]) -> Marks:
        """A mask, (rows,): rows that are translations of a row that is trained on."""
        spoken = self._spoken_of(trained, evaluated)
        none = np.zeros(len(rows), bool)
        seen, originals = (frozenset[str](), {}) if spoken is None else self.seen(trained, spoken)
        if not seen:
            return none
        alike = [row.label_words == originals[row.id] for row in rows if row.id in originals]
        if len(alike) < SHARED * min(len(rows), len(originals)) or sum(alike) < ALIKE * len(alike):
            return none
        return np.fromiter((row.id in seen for row in rows), bool, len(rows))

    def _seen(self, trained: _Training, spoken: Need) -> _Seen:
        """For evaluation rows in the language of the training rows: the ids of those that are trained on and, if there
        are any, the labels of all."""
        rows = self.compared(spoken, trained.text)
        same, near = rows.marks(self.known(trained))
        ids = frozenset(row.id for row, is_seen in zip(rows.rows, same | near, strict=True) if is_seen)
        return ids, {row.id: row.label_words for row in rows.rows} if ids else {}


def _by_arm(arm: ArmParts, recipe: RecipeParts, census: Census) -> Iterator[_Training]:
    for name in arm.tasks:
        yield from (_Training((name, "train", code)) for code in arm.languages)
        if arm.training.evaluations:
            yield _Training((name, "dev", ENGLISH), CHECKPOINT)
    if arm.replay is not None:
        yield from _texts(arm.replay.text, arm.replay.languages, recipe, census, arm.replay.lines)


def _by_fields(arm: ArmParts, target: TargetParts, recipe: RecipeParts, census: Census) -> Iterator[_Training]:
    """The other rows that train a target in an arm, and the dev rows that choose: English if no field names others."""
    on, chosen = census.task(target.task).trained_on, list[Need]()
    for field in set_fields("arm", arm):
        for need, originals in field.trained_rows(recipe, arm, target, census).items():
            yield _Training(need, originals=originals)
        chosen += field.chosen_rows(recipe, arm, target, census)
    if on is not None and target.training.evaluations:
        yield from (_Training(need, CHECKPOINT) for need in chosen or [(on, "dev", ENGLISH)])


def _pretraining(recipe: RecipeParts, census: Census) -> Iterator[_Training]:
    if isinstance(recipe.encoder, Pretrain):
        names, languages = (*recipe.encoder.text, *recipe.encoder.parallel), recipe.encoder.languages
        yield from _texts(names, languages, recipe, census)


def _texts(
    names: Iterable[str],
    languages: Sequence[str] | None,
    recipe: RecipeParts,
    census: Census,
    lines: int | None = None,
) -> Iterator[_Training]:
    for name in names:
        source = source_of(name, "train", recipe.substitutions)
        for code in census.task(name).languages:
            if (languages is None or code in languages) and census.problem(*source, code, labelled=False) is None:
                yield _Training((name, "train", code), text=True, lines=lines)


def _by_target(target: TargetParts, code: str, recipe: RecipeParts, census: Census) -> Iterator[_Training]:
    card = census.task(target.task)
    if card.trained_on is not None:
        yield _Training((card.trained_on, "train", ENGLISH))
    if not card.row_kind.is_searched:
        return
    # In arms that train nothing, fewer rows choose; scored rows are then reported more often than necessary.
    how, _ = vectors_of(target, recipe, census, trained=len(recipe.intermediates) > 1)
    several = how.is_chosen
    for split in card.row_kind.tuned_on:
        yield _Training((card.name, split, code), f"{THRESHOLD} and a {LAYER}" if several else THRESHOLD)
    if several and not card.row_kind.tuned_on:
        need = (how.choose_on, "train", code)
        if code in census.task(how.choose_on).languages and census.problem(*need, labelled=False) is None:
            lines = CHOOSING_LINES if how.layers == "all" else None
            yield _Training(need, LAYER, text=True, lines=lines)


def _sketches(documents: Iterable[tuple[str, ...]]) -> Sketches:
    return Sketches.of(map("".join, documents))
