"""Rows that a recipe both trains on and evaluates on, and rows that choose a model that is scored on them: which of
these no result may rest on, and how they are reported. `viaduct.runs.row_comparison` finds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from viaduct.errors import DataError
from viaduct.languages import ENGLISH
from viaduct.results.record import Record
from viaduct.runs.parts import RecipeParts
from viaduct.runs.rows import source_of
from viaduct.tasks.catalogue import Catalogue

STRAY = 0.01
"""Up to this share of an evaluation set, near-duplicates and translations are considered chance."""


class Overlap(Record):
    """Evaluation rows of one target in one language that are also training rows of one split; at least one."""

    arms: tuple[str, ...]
    """Intermediate arms that train on the split."""
    task: str
    split: str
    """The split that is trained on, or that chooses."""
    spoken: str
    """Language of the training rows."""
    target: str
    target_split: str
    language: str
    evaluated: int
    """Evaluation rows that occur in the training rows."""
    of_evaluated: int
    near: int = 0
    """Further evaluation rows that are nearly the same as a training row."""
    translated: int = 0
    """Further evaluation rows that are translations of rows of either sort."""
    chosen: str = ""
    """What these rows choose ("checkpoint"); "" if they are trained on."""
    text: bool = False
    """Whether the split is plain or parallel text."""
    lines: int | None = None
    """Number of lines of text, if only the first ones are trained on."""

    @property
    def training(self) -> str:
        """What is trained on, in words: "mnli train", or "mnli train de". Text without a language is in the evaluated
        language."""
        named = self.spoken != (self.language if self.text else ENGLISH)
        first = "" if self.lines is None else f" (first {self.lines:,} lines)"
        return f"{self.task} {self.split}{f' {self.spoken}' * named}{first}"

    @property
    def counts(self) -> str:
        """The counts in words: "en 3 of 40", "de 3 in translation of 40"."""
        kinds = ((self.evaluated, ""), (self.near, " nearly the same"), (self.translated, " in translation"))
        told = " + ".join(f"{count:,}{words}" for count, words in kinds if count)
        return f"{self.language} {told} of {self.of_evaluated:,}"


def blocking(found: Iterable[Overlap], recipe: RecipeParts, catalogue: Catalogue) -> tuple[Overlap, ...]:
    """The overlaps that no result should rest on: rows that are trained on and evaluated because a substitution or a
    user's own card brought them in, and identical rows of an intermediate task.

    What publishers left in their own files is reported and does not block: rows of a target's own training files, rows
    that are nearly the same, and text without labels, unless the text is substituted or from a user's own card. A few
    rows that are only nearly the same (`STRAY`), and rows that only choose (`chosen_on_scored`), do not block either.
    """
    return tuple(one for one in found if not one.chosen and _blocks(one, recipe, catalogue))


def _blocks(one: Overlap, recipe: RecipeParts, catalogue: Catalogue) -> bool:
    if one.text:
        read = source_of(one.task, one.split, recipe.substitutions)
        return one.task not in Catalogue.builtin() or read != (one.task, one.split)
    if one.evaluated and catalogue.task(one.target).trained_on != one.task:
        return True
    is_stray = not one.evaluated and one.near + one.translated <= STRAY * one.of_evaluated
    return not is_stray and not _published_so(one, recipe)


def _published_so(one: Overlap, recipe: RecipeParts) -> bool:
    """Whether the publishers' own files for training (or choosing) and for evaluation share the rows."""
    trained = source_of(one.task, one.split, recipe.substitutions)
    evaluated = source_of(one.target, one.target_split, recipe.substitutions)
    builtin = Catalogue.builtin()
    return (
        one.task in builtin
        and one.target in builtin
        and trained in ((one.task, "train"), (one.task, one.split))
        and evaluated[0] == one.target
        and evaluated[1] != "train"
        and trained != evaluated
    )


def chosen_on_scored(found: Iterable[Overlap], recipe: RecipeParts) -> tuple[Overlap, ...]:
    """The overlaps by which a checkpoint, layer or threshold is chosen on the rows that are scored, except for rows
    that publishers left in both their dev and their evaluation files."""
    return tuple(one for one in found if one.chosen and not _published_so(one, recipe))


def require_none(found: Iterable[Overlap], recipe: RecipeParts, catalogue: Catalogue) -> None:
    """Raise DataError with a list of the overlaps that block, if there are any."""
    shared = said(blocking(found, recipe, catalogue))
    if shared:
        raise DataError(
            f"recipe {recipe.name} trains on rows that it evaluates on:" + "".join(f"\n  - {line}" for line in shared),
            fix="leave them out by a substitution (`part`, `without_contexts_of`, `without_rows_of`), or add"
            " --allow-overlap, and the report will say so",
        )


def said(found: Iterable[Overlap]) -> tuple[str, ...]:
    """One line per training split and evaluation set, with what is shared in each language."""
    return tuple(
        f"rows of {one.training} are also in {one.target} {one.target_split}: {counts}"
        for one, counts in _together(found)
    )


def said_of_choices(found: Iterable[Overlap]) -> tuple[str, ...]:
    """One line per choice that is made on scored rows (`chosen_on_scored`)."""
    return tuple(
        f"a {one.chosen} for {one.target} {one.target_split} is chosen on rows of {one.training} that are also scored"
        f" ({counts}): these scores are too high, and decide no claim"
        for one, counts in _together(found)
    )


def _together(found: Iterable[Overlap]) -> Iterator[tuple[Overlap, str]]:
    """Groups overlaps that differ only in evaluation language: the first of each group, and all its counts in words."""
    groups: dict[tuple[str, ...], list[Overlap]] = {}
    for one in found:
        groups.setdefault((one.training, one.target, one.target_split, one.chosen), []).append(one)
    for members in groups.values():
        yield members[0], ", ".join(one.counts for one in members)
