"""Synthetic runs for the report's tests: invented numbers with the shape of a real XTREME run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from viaduct.languages import XTREME
from viaduct.report.contrast import Contrasts
from viaduct.report.contrasts import Comparing, Unlike, contrasts
from viaduct.results.outcomes import LanguageOutcomes
from viaduct.results.record import About, DataNote, ResultRow, StageCost, SubstitutionNote

XNLI = "en ar bg de el es fr hi ru sw th tr ur vi zh"
NER = " ".join(XTREME)
POS = "en af ar bg de el es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh"
TATOEBA = "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"

TASKS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "xnli": (XNLI, ("accuracy",), 0.72),
    "pawsx": ("en de es fr ja ko zh", ("accuracy",), 0.81),
    "udpos": (POS, ("f1", "precision", "recall", "token_accuracy"), 0.70),
    "panx": (NER, ("f1", "precision", "recall", "token_accuracy"), 0.60),
    "xquad": ("en ar de el es hi ru th tr vi zh", ("f1", "exact_match"), 0.68),
    "mlqa": ("en ar de es hi vi zh", ("f1", "exact_match"), 0.62),
    "tydiqa": ("en ar bn fi id ko ru sw te", ("f1", "exact_match"), 0.55),
    "bucc": ("de fr ru zh", ("f1",), 0.66),
    "tatoeba": (TATOEBA, ("accuracy",), 0.45),
}
GAIN = {"none": 0.0, "caption-contrast": 0.03, "snli-mnli": 0.009, "text-only": 0.0}


class Run(NamedTuple):
    """The three inputs of `page.write`."""

    about: About
    rows: tuple[ResultRow, ...]
    costs: tuple[StageCost, ...]


def make_run(
    *,
    arms: Sequence[str] = ("none", "caption-contrast", "snli-mnli"),
    tasks: Sequence[str] = tuple(TASKS),
    seeds: Sequence[int] = (1, 2, 3),
    absent: Sequence[tuple[str, str, str]] = (),
    miniature: bool = False,
    substituted: Sequence[str] = ("xnli", "mlqa"),
    recipe: str = "captions-before-xtreme",
) -> Run:
    """A run; `absent` lists (arm, task, language) without a score, where "*" stands for all."""
    notes = tuple(
        SubstitutionNote(task=task, split="test", used=f"{task} dev", why="the published test file has no labels")
        for task in substituted
        if task in tasks
    )
    about = About(
        recipe=recipe,
        hypothesis="Contrastive training on captions of the same images raises retrieval, and leaves tagging alone.",
        command=f"viaduct run {recipe} --data data --store runs",
        encoder="base-multilingual",
        encoder_details={"parameters": "278,043,648", "layers": "12", "vocabulary": "250,002", "text": "CC-100"},
        arms=tuple(arms),
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        miniature=miniature,
        substitutions=notes,
        data=tuple(_notes(tasks, substituted)),
        settings={
            "intermediate": "learning rate 1e-05, 1 epoch, 2,048 tokens per batch",
            "target": "learning rate 2e-05, 3 epochs, 2,048 tokens per batch, warm-up 10 %",
        },
        versions={"viaduct": "0.1.0", "torch": "2.13.0", "transformers": "5.1.0", "python": "3.11.2"},
        created="2026-01-15T12:34:56Z",
    )
    rows = tuple(row for row in _rows(about, substituted) if not _is_absent(row, absent))
    return Run(about, rows, tuple(_costs(about)))


def gains(run: Run, **by_arm: tuple[float, float]) -> Run:
    """The run with new scores: a gain per arm (a fraction, the same for all seeds) and some noise for every score."""
    rows = []
    for row in run.rows:
        key = (row.task, row.metric, row.language)
        gain, noise = by_arm.get(row.arm.replace("-", "_"), (0.0, 0.0))
        level = 0.4 + _noise(*key).random() / 10
        value = level + gain + noise * _noise(row.seed, row.arm, *key).gauss(0, 1)
        rows.append(row.model_copy(update={"value": min(max(value, 0.0), 1.0)}))
    return Run(run.about, tuple(rows), run.costs)


class Outcomes:
    """Outcomes by example that match such a run. A model gets the first examples right, as if they were ordered by
    difficulty, so two models differ on as few examples as their scores allow. `of_each`: examples in each group."""

    def __init__(self, rows: Sequence[ResultRow], examples: int = 1000, of_each: int = 1) -> None:
        self._rows, self._examples, self._of_each = rows, examples, of_each

    def task(self, name: str) -> dict[str, dict[int, dict[str, LanguageOutcomes]]]:
        """Arm -> seed -> language -> outcomes."""
        found: dict[str, dict[int, dict[str, LanguageOutcomes]]] = {}
        for row in self._rows:
            if row.task == name and row.headline:
                right = np.arange(self._examples) < row.value * self._examples
                units = np.arange(self._examples, dtype=np.int32) // self._of_each
                one = LanguageOutcomes({"accuracy": right.astype(np.float32)}, units, row.language, 0.2, 0.25)
                found.setdefault(row.arm, {}).setdefault(row.seed, {})[row.language] = one
        return found


def _is_absent(row: ResultRow, absent: Sequence[tuple[str, str, str]]) -> bool:
    return any(
        arm in ("*", row.arm) and task in ("*", row.task) and language in ("*", row.language)
        for arm, task, language in absent
    )


def _noise(*key: object) -> random.Random:
    return random.Random("/".join(map(str, key)))


def _rows(about: About, substituted: Sequence[str]) -> list[ResultRow]:
    rows = []
    for task in about.tasks:
        languages, metrics, level = TASKS[task]
        for arm in about.arms:
            for seed in about.seeds:
                for code in languages.split():
                    for number, metric in enumerate(metrics):
                        hard = 0.0 if code == "en" else 0.05 + abs(_noise(task, code).gauss(0, 0.12))
                        gain = GAIN.get(arm, 0.005) * (3 if task in ("bucc", "tatoeba") else 1)
                        value = level + 0.12 - hard + gain + _noise(arm, task, code, seed).gauss(0, 0.008)
                        value -= 0.15 * (metric == "exact_match")
                        rows.append(
                            ResultRow(
                                recipe=about.recipe,
                                encoder=about.encoder,
                                arm=arm,
                                task=task,
                                task_version=1,
                                language=code,
                                split="dev" if task in substituted else "test",
                                seed=seed,
                                metric=metric,
                                headline=number == 0,
                                value=min(max(value, 0.01), 0.995),
                                n=1000,
                                n_missing=0,
                                signature=f"{task}:1|{metric}|norm:task",
                                selection="untrained" if task in ("bucc", "tatoeba") else "english dev",
                                substitution=f"{task} test := {task} dev" if task in substituted else None,
                                fingerprint=hashlib.sha256(f"{arm}{task}{seed}".encode()).hexdigest()[:16],
                            )
                        )
    return rows


def _notes(tasks: Sequence[str], substituted: Sequence[str]) -> list[DataNote]:
    notes = []
    for task in tasks:
        for code in TASKS[task][0].split():
            found = 998 if (task, code) == ("panx", "yo") else 1000
            split = "dev" if task in substituted else "test"
            published = None if task == "tatoeba" else 1000
            notes.append(
                DataNote(task=task, split=split, language=code, layout="official", found=found, published=published)
            )
        notes.append(DataNote(task=task, split="train", language="en", layout="xtreme", found=5000, published=5000))
    return notes


def _costs(about: About) -> list[StageCost]:
    costs = [_cost(about, "", "", "pretrain", "base", 1, 5400.0)]
    for arm in about.arms:
        for seed in about.seeds:
            if arm != "none":
                costs.append(_cost(about, arm, "", "train", f"base/{arm}/seed-{seed}", seed, 1800.0))
            for task in about.tasks:
                path = f"base/{arm}/{task}/seed-{seed}"
                if task not in ("bucc", "tatoeba"):
                    costs.append(_cost(about, arm, task, "train", path, seed, 600.0))
                costs.append(_cost(about, arm, task, "predict", f"{path}/predict", seed, 90.0))
                costs.append(_cost(about, arm, task, "score", f"{path}/score", seed, 1.5))
    return costs


def _cost(about: About, arm: str, task: str, stage: str, path: str, seed: int, seconds: float) -> StageCost:
    worked = stage != "score"
    return StageCost(
        encoder=about.encoder,
        arm=arm,
        task=task,
        stage=stage,
        path=path,
        seed=seed,
        seconds=seconds * _noise(path).uniform(0.9, 1.1),
        tokens=int(seconds * 9000) if worked else 0,
        padding_fraction=0.021 if worked else None,
        flops=seconds * 2e11 if worked else None,
        peak_memory_bytes=int(3.1e9) if worked else int(2.4e8),
        device="cpu",
        threads=2,
        versions=about.versions,
        finished="2026-01-15T12:30:00Z",
    )


def contrasts_of(
    run: Run, *, outcomes: Any = None, asked: Any = (), unlike: Unlike = lambda *_: (), **about: object
) -> Contrasts:
    """A run's comparisons, with outcomes by example."""
    changed = run.about.model_copy(update=about)
    return contrasts(changed, run.rows, Comparing.of(changed, asked, unlike), outcomes or Outcomes(run.rows))
