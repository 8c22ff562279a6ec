"""Synthetic results for the tests of claims: each arm has the gain that a test specifies, plus some noise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from viaduct.languages import LANGUAGES
from viaduct.metrics.difference import ExampleVariance
from viaduct.metrics.summary import counted_metrics
from viaduct.report.claims import ClaimLine, check_roles, judge, pairs
from viaduct.report.contrast import Contrasts
from viaduct.report.contrasts import Comparing, compare
from viaduct.report.examples import Guess
from viaduct.report.table import comparable, task_scores
from viaduct.results.record import About, DataNote, ResultRow, SubstitutionNote
from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

CARDS = Catalogue.builtin()

LARGE = {"name": "FacebookAI/xlm-roberta-large", "layers": "24", "width": "1,024", "vocabulary": "250,002"}
KINDS = ("pair", "pair", "pair", "span", "span", "choice", "tagged", "choice", "choice")


def cards() -> tuple[Task, ...]:
    """XTREME's cards, and made-up ones for the nine intermediate tasks."""
    words = {"squad2": "questions about Wikipedia", "hellaswag": "video captions and WikiHow"}
    made = (
        replace(
            CARDS.task("xnli"),
            name=name,
            kind=kind,
            languages=("en",),
            title=words.get(name, name),
            differs="",
        )
        for name, kind in zip(INTERMEDIATES, KINDS, strict=True)
    )
    return (*map(CARDS.task, TARGETS), *made)


def about(
    arms: Sequence[str],
    *,
    seeds: int = 3,
    encoder: str = "FacebookAI--xlm-roberta-large",
    details: Mapping[str, str] | None = None,
    miniature: bool = False,
    tasks: Sequence[str] = TARGETS,
    data: Mapping[str, int] | None = None,
    settings: Mapping[str, str] | None = None,
    substituted: str | None = None,
) -> About:
    """The description of a run; `data`: task -> number of English training rows found."""
    notes = [
        DataNote(task=name, split="train", language="en", layout="official", found=found, published=None)
        for name, found in (data or {}).items()
    ]
    stages = {f"{arm}: mnli": "3 epochs" for arm in arms if arm != "none"} | {f"target {name}": "" for name in tasks}
    gone = [SubstitutionNote(task=substituted, split="test", used="dev", why="no labels")] if substituted else []
    return About(
        recipe="claims",
        hypothesis="",
        command="viaduct run",
        encoder=encoder,
        encoder_details=dict(LARGE if details is None else details),
        arms=tuple(arms),
        tasks=tuple(tasks),
        seeds=tuple(range(1, seeds + 1)),
        miniature=miniature,
        substitutions=tuple(gone),
        data=tuple(notes),
        settings=dict(stages if settings is None else settings),
        versions={},
        created="2026-01-15T12:34:56Z",
    )


def results(
    run: About,
    gains: Mapping[str, float | Mapping[str, float]],
    *,
    noise: float = 0.001,
    wobble: float = 0.0,
    split: str = "test",
    absent: tuple[str, str, str, int] | None = None,
) -> tuple[ResultRow, ...]:
    """All scores of this run; `gains`: arm -> its gain, everywhere or by task; `wobble`: amount that seeds alternately
    add to and subtract from every arm but the first; `absent`: one (arm, task, language, seed) without a score."""
    rows = []
    last = len(run.seeds) - len(run.seeds) % 2
    for task in run.tasks:
        card = CARDS.task(task)
        for arm in run.arms:
            given = gains.get(arm, 0.0)
            gain = given if isinstance(given, float) else given.get(task, 0.0)
            for seed in run.seeds:
                turn = 0.0 if arm == run.arms[0] or seed > last else wobble * (-1) ** seed * (1 + len(arm) / 100)
                for code in card.languages:
                    if (arm, task, code, seed) == absent:
                        continue
                    near = random.Random(f"{arm}/{task}/{LANGUAGES[code].family}").gauss(0, noise)
                    value = 0.5 + gain + turn + near + random.Random(f"{arm}/{task}/{code}/{seed}").gauss(0, noise)
                    for number, metric in enumerate(card.metrics):
                        rows.append(
                            ResultRow.model_construct(
                                recipe=run.recipe,
                                encoder=run.encoder,
                                arm=arm,
                                task=task,
                                task_version=1,
                                language=code,
                                split=split,
                                seed=seed,
                                metric=metric,
                                headline=number == 0,
                                value=value,
                                n=1000,
                                n_missing=0,
                                signature=f"{task}|{metric}|v1",
                                selection="untrained" if card.trained_on is None else "english dev",
                                substitution=None,
                                fingerprint=f"{arm} {task} {seed}",
                            )
                        )
    return tuple(rows)


class Exact:
    """Test sets so large that the choice of examples adds no variance."""

    fewest = 1000
    is_grouped = False

    def variance(self, arm: str, against: str | None, seeds: object, languages: object) -> ExampleVariance:
        return ExampleVariance(0.0, 0.0)

    def guess(self, languages: object) -> Guess:
        return Guess(None, None)


def compared(run: About, rows: Sequence[ResultRow], given: Mapping[str, str] | None = None) -> Contrasts:
    """The comparisons on a page of this run: each arm against `none`, and the pairs that claims require."""
    scores = task_scores(
        comparable(run, rows) if rows else [], {card.name: counted_metrics(card.metrics) for card in CARDS}
    )
    comparing = Comparing.of(run, pairs(check_roles(run, given)))
    return compare(scores, comparing, lambda task: Exact())


def said(run: About, rows: Sequence[ResultRow] = (), **options: object) -> dict[str, ClaimLine]:
    """Claim id -> claim with its verdict, judged with the made-up cards unless others are given."""
    given: dict[str, object] = {"cards": cards(), **options}
    roles = given.pop("roles", None)
    found = given.pop("contrasts", None) or compared(run, rows, roles)  # type: ignore[arg-type]
    return {line.claim.id: line for line in judge(run, rows, found, roles, **given).lines}  # type: ignore[arg-type]


def verdict_of(claim: str, run: About, rows: Sequence[ResultRow] = (), **options: object) -> ClaimLine:
    """This claim's line."""
    return said(run, rows, **options)[claim]


def verdict(claim: str, run: About, rows: Sequence[ResultRow] = (), **options: object) -> str:
    """This claim's verdict."""
    return verdict_of(claim, run, rows, **options).verdict
