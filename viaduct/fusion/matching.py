"""Matches rows with their translations by id, and checks that those of rows to predict exist and are translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, UsageError
from viaduct.fusion.records import Coverage
from viaduct.fusion.settings import fusion_of
from viaduct.languages import ENGLISH
from viaduct.rows import Pair, Row, Tagged, TranslatedPair
from viaduct.runs.census import Census
from viaduct.runs.gaps import Gap, target_languages
from viaduct.runs.parts import RecipeParts, Substitution, TargetParts
from viaduct.runs.rows import Need, letters, source_of


@dataclass(frozen=True)
class Matched:
    """Rows that have translations, with these."""

    at: NDArray[np.int64]
    """Indices of these rows among all rows."""
    translations: tuple[Row, ...]
    coverage: Coverage


def match(rows: Sequence[Row], others: Sequence[Row], language: str, most_missing: float, what: str) -> Matched:
    """The translations of rows, by id; one that states its originals must agree with the row's texts and label.

    Raises DataError if more than the share `most_missing` of the rows lacks a translation.
    """
    by_id = {row.id: row for row in others}
    has = [row.id in by_id and _belongs(by_id[row.id], row) for row in rows]
    at = np.array([number for number, there in enumerate(has) if there], dtype=np.int64)
    missing = len(rows) - len(at)
    unknown = len(by_id) - len(at)
    if missing > most_missing * len(rows):
        lost = rows[has.index(False)].id
        other = " (the translation with this id is of another text, or has another label)" if lost in by_id else ""
        raise DataError(
            f"{what} in {language}: {missing:,} of {len(rows):,} rows have no translation with the same id, the first "
            f"is '{lost}'{other}; {unknown:,} of {len(by_id):,} translations belong to no row",
            fix=f"use files with the ids of the originals, or raise `most_missing` (currently {most_missing:g})",
        )
    found = tuple(_labelled(by_id[rows[number].id], rows[number]) for number in at)
    return Matched(at, found, Coverage(language=language, rows=len(rows), missing=missing, unknown=unknown))


def _belongs(row: Row, original: Row) -> bool:
    """Whether this can be a translation of `original`; blanks, case, quotes and accents are ignored in comparing."""
    if (
        None not in (row.gold, original.gold)
        and not isinstance(row, Tagged)
        and row.label_words != original.label_words
    ):
        return False
    told = zip(row.originals, original.texts, strict=True) if isinstance(row, TranslatedPair) else ()
    return all(one is None or letters(one) == letters(other) for one, other in told)


def _labelled(row: Row, original: Row) -> Row:
    """The translation with the label of its original if it has none; tags are dropped: they belong to other words."""
    if isinstance(row, Pair) and isinstance(original, Pair):
        return Pair(row.id, row.language, row.first, row.second, row.label or original.label)
    return replace(row, tags=None) if isinstance(row, Tagged) else row


def predicted_gaps(target: TargetParts, recipe: RecipeParts, census: Census) -> list[Gap]:
    """Languages to predict whose translations (`fusion.test`) are missing, or too few of them belong to a row; one gap
    for all languages if no row has a translation; [] without `fusion.test`.

    Raises UsageError if the translations are the rows themselves, or the human English originals.
    """
    how = fusion_of(target)
    if how.test is None:
        return []
    codes = tuple(code for code in target_languages(recipe, census, [])[0][target.task] if code != ENGLISH)
    asked = (target.task, how.test, target.split)
    return list(_predicted_gaps(census, asked, codes, how.most_missing, recipe.substitutions))


@lru_cache(maxsize=16)  # several arms ask for the same
def _predicted_gaps(
    census: Census, asked: Need, codes: tuple[str, ...], most: float, substitutions: tuple[Substitution, ...]
) -> tuple[Gap, ...]:
    """`asked`: the target, the card with its translations, the split."""
    task, card, split = asked
    what, found, count = f"{card} {split}", list[Gap](), 0

    def problem(name: str, code: str) -> str | None:
        return census.problem(*source_of(name, split, substitutions), code, labelled=False)

    def rows(name: str, code: str) -> tuple[Row, ...]:
        return () if problem(name, code) else census.data.load(name, split, code, substitutions).rows

    english = rows(task, ENGLISH)
    for code in codes:
        own = rows(task, code)
        try:
            translations = match(own, rows(card, code), code, most, what).translations
        except DataError as error:
            found.append(Gap(what, code, problem(card, code) or str(error).partition("\n")[0]))
            continue
        _require_translations(translations, own, f"`fusion.test`: {what} in {code} has the rows of {task} themselves")
        oracle = f"`fusion.test`: {what} in {code} has the human English originals of {task}, which would be an oracle"
        _require_translations(translations, english, oracle)
        count += len(translations)
    return tuple(found) if found or count else (Gap(what, "", "no row to predict has a translation"),)


def _require_translations(translations: Sequence[Row], others: Sequence[Row], message: str) -> None:
    """Raise UsageError if more than half of the translations equal these rows; some short ones may well do."""
    known = {tuple(map(letters, row.texts)) for row in others}
    if sum(tuple(map(letters, row.texts)) in known for row in translations) > len(translations) / 2:
        raise UsageError(message, fix="name a card of machine translations, or set `oracle: true` in the arm instead")
