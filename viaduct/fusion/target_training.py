"""Runs the TrainOn stage: trains a target on rows of given languages, and chooses the checkpoint on given dev rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from viaduct.fusion.matching import match
from viaduct.fusion.records import Coverage, Translated
from viaduct.fusion.train_on import TrainOnWork
from viaduct.heads.head import load_head
from viaduct.languages import ENGLISH
from viaduct.models.encoder import dropout, width
from viaduct.results.writing import canonical
from viaduct.rows import Row
from viaduct.runs.stage import Context, Spent
from viaduct.training.finetuning import FineTuning, TaskData, TaskReader
from viaduct.training.order import sample_rows


def train_on(context: Context, work: TrainOnWork) -> Spent:
    """Train, and leave the same files as the Train stage."""
    return TargetTraining(context, work).run()


class TargetTraining(FineTuning):
    """A TrainOn stage while it runs."""

    work: TrainOnWork  # type: ignore[assignment]

    def __init__(self, context: Context, work: TrainOnWork) -> None:
        super().__init__(context, work)  # type: ignore[arg-type]

    def read(self, reader: TaskReader) -> TaskData:
        """At most `rows` rows of each language; only translations that belong to an English row."""
        context, work = self.context, self.work
        rows, coverage = list[Row](), list[Coverage]()
        has_english = work.by_id or (work.task, ENGLISH) in work.sources
        originals = context.load(work.task, "train", ENGLISH).rows if has_english else ()
        for card, code in work.sources:
            found = context.load(card, "train", code).rows
            if code != ENGLISH and (work.by_id or self._is_beside_english(card)):
                one = match(originals, found, code, work.most_missing, f"{card} train")
                ids = {row.id for row in one.translations}
                found = tuple(row for row in found if row.id in ids)
                coverage.append(one.coverage)
            rows += sample_rows(found, work.rows, work.seed)
        if coverage:
            told = Translated(task=work.task, coverage=tuple(coverage)).model_dump(mode="json")
            (context.directory / "translations.json").write_text(canonical(told), encoding="utf-8")
        kept = sample_rows(rows, work.training.train_rows, work.seed)
        dev_rows = read_dev(context, work.dev, work.training.dev_rows)
        return reader.of(context.task(work.task), kept, dev_rows, work.seed)

    def _is_beside_english(self, card: str) -> bool:
        """Whether this card's rows are translations of English rows that are also trained on."""
        work = self.work
        is_translated = card != work.task or self.context.task(card).translated
        return is_translated and (work.task, ENGLISH) in work.sources

    def begin(self) -> None:
        """Load the head of the previous stage if this one continues it."""
        if self.work.continues:
            encoder = self.model.encoder
            head, _ = load_head(self.context.inputs["encoder"], width(encoder), dropout(encoder))
            self.model.head.load_state_dict(head.state_dict())


def read_dev(context: Context, dev: Sequence[tuple[str, str]], most: int | None) -> list[Row]:
    """Dev rows of these cards and languages, with ids that differ between languages; at most `most` in total, the same
    number from each."""
    found: list[Row] = []
    for card, code in dev:
        rows = context.load(card, "dev", code).rows[: None if most is None else max(1, most // len(dev))]
        found += [replace(row, id=f"{code} {row.id}") for row in rows] if len(dev) > 1 else rows
    return found
