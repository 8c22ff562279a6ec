"""Draws results from a declared random model, which `verdicts.py` sends through the report's code.

For arm a (0 is the baseline), seed s, task t and language l the expected score in points is the sum of `score`, the
named effects, and draws for seed (a, t, s), language (a, t, l), family (a, t, family of l), group (a, t, Indo-European
or not) and cell (a, t, s, l), each normal with the scenario's standard deviation. Language, family and group draws are
differences from the baseline, which has its own seed and cell draws; an untrained baseline (retrieval) has one value.
In addition, a share `changed_examples` of the examples is consistently right where the baseline is wrong or vice versa,
half each; for half of them, this holds in all languages of a parallel task at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from viaduct.errors import ViaductError
from viaduct.languages import ENGLISH, INDO_EUROPEAN, family_of, language
from viaduct.metrics.difference import ExampleVariance
from viaduct.report.examples import Guess, TaskOutcomes
from viaduct.results.outcomes import LanguageOutcomes
from viaduct.results.record import BASELINE
from viaduct.tasks.catalogue import Catalogue

BY_EXAMPLE = 2_000_000
"""Up to this many outcomes per run, every example is drawn; beyond, only how many of them are right."""


class Part(BaseModel):
    """A part of a scenario file; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScenarioTask(Part):
    name: str
    languages: tuple[str, ...]
    examples: int = Field(ge=2)
    """Number of test rows in each language."""
    parallel: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_card(cls, given: dict[str, Any]) -> dict[str, Any]:
        """ "xtreme" means the languages of the task's card."""
        if given.get("languages") != "xtreme":
            return given
        return given | {"languages": Catalogue.builtin().task(str(given.get("name"))).languages}

    @model_validator(mode="after")
    def _has_others(self) -> ScenarioTask:
        for code in self.languages:
            language(code)
        if not set(self.languages) - {ENGLISH}:
            raise ValueError(f"verdicts are about languages other than English, and {self.name} has none")
        return self

    @property
    def untrained(self) -> bool:
        catalogue = Catalogue.builtin()
        return self.name in catalogue and catalogue.task(self.name).trained_on is None


class Deviations(Part):
    """Standard deviations in points."""

    seed: float = Field(0.0, ge=0)
    language: float = Field(0.0, ge=0)
    family: float = Field(0.0, ge=0)
    group: float = Field(0.0, ge=0)
    cell: float = Field(0.0, ge=0)


class Effect(Part):
    arm: int = Field(ge=1)
    task: str | None = None
    """None: all tasks."""
    points: float


class Scenario(Part):
    name: str = ""
    about: str = ""
    tasks: tuple[ScenarioTask, ...] = Field(min_length=1)
    seeds: int = Field(3, ge=1)
    arms: int = Field(3, ge=1)
    """Number of arms, not counting the baseline."""
    runs: int = Field(200, ge=1)
    score: float = Field(70.0, gt=0, lt=100)
    random: int = 0
    """First part of the random seed of the draws."""
    effects: tuple[Effect, ...] = ()
    sd: Deviations = Deviations()
    changed_examples: float = Field(0.0, ge=0, le=1)
    margin: float = Field(0.5, gt=0)
    roles: tuple[str, ...] = ()
    """Roles of the first arms, for the claims of the literature; () to leave claims out."""

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Scenario:
        tasks = [task.name for task in self.tasks]
        if len(set(tasks)) < len(tasks):
            raise ValueError("a task appears twice")
        base = self.score / 100
        if self.changed_examples > 2 * base * (1 - base):
            raise ValueError(f"no more than {2 * base * (1 - base):.3f} of the examples can change at this score")
        for one in self.effects:
            if one.arm > self.arms:
                raise ValueError(f"an effect names arm {one.arm}, but there are only {self.arms}")
            if one.task is not None and one.task not in tasks:
                raise ValueError(f"an effect is on task '{one.task}', but the tasks are {', '.join(tasks)}")
        return self

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """The scenario in a file. Ends the program, saying what is wrong, if the file is not valid."""
        try:
            return cls.model_validate({"name": path.stem} | json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, ViaductError) as error:  # pydantic's and json's errors are ValueErrors
            raise SystemExit(f"{path}: {error}") from None

    def effect(self, arm: int, task: str) -> float:
        return sum(one.points for one in self.effects if one.arm == arm and one.task in (None, task))


def arm_names(arms: int) -> tuple[str, ...]:
    """The baseline and `arms` others."""
    return (BASELINE, *(f"arm{number}" for number in range(1, arms + 1)))


@dataclass(frozen=True)
class Truth:
    """True differences from the baseline, as fractions; arm -> task -> difference."""

    these: Mapping[str, Mapping[str, float]]
    """Means of the drawn effects over the languages other than English."""
    like_these: Mapping[str, Mapping[str, float]]
    """The scenario's own effects."""
    english: Mapping[str, float]
    """Arm -> difference in English, averaged over the tasks that have it."""

    @staticmethod
    def over(tasks: Mapping[str, float], task: str) -> float:
        """The difference on one task, or ("") the mean over tasks; 0 if only rounding error remains."""
        value = tasks[task] if task else sum(tasks.values()) / len(tasks)
        return 0.0 if abs(value) < 1e-12 else value


@dataclass(frozen=True)
class World:
    """One drawn run."""

    scores: Mapping[str, Mapping[str, Mapping[int, Mapping[str, float]]]]
    """Arm -> task -> seed -> language -> score, in the form that the report's code takes."""
    examples: Mapping[str, Any]
    """Task -> `TaskOutcomes` by example, or `Counted`."""
    truth: Truth


def draw(scenario: Scenario, rng: np.random.Generator) -> World:
    """Draw one run's results."""
    names = arm_names(scenario.arms)
    scores: dict[str, dict[str, Any]] = {name: {} for name in names}
    these: dict[str, dict[str, float]] = {name: {} for name in names[1:]}
    plain: dict[str, dict[str, float]] = {name: {} for name in names[1:]}
    english: dict[str, list[float]] = {name: [] for name in names[1:]}
    examples: dict[str, Any] = {}
    models = len(names) * scenario.seeds
    few = models * sum(len(task.languages) * task.examples for task in scenario.tasks) <= BY_EXAMPLE
    for task in scenario.tasks:
        expected_ASL, effects_AL = _expected(scenario, task, rng)
        made = (_by_example if few else _by_count)(scenario, task, expected_ASL, rng)
        values_ASL, examples[task.name] = made
        counted = [place for place, code in enumerate(task.languages) if code != ENGLISH]
        for number, name in enumerate(names):
            scores[name][task.name] = {
                seed + 1: dict(zip(task.languages, map(float, own), strict=True))
                for seed, own in enumerate(values_ASL[number])
            }
            if number:
                these[name][task.name] = float(effects_AL[number, counted].mean()) / 100
                plain[name][task.name] = scenario.effect(number, task.name) / 100
                english[name] += [
                    float(effects_AL[number, place]) / 100
                    for place in range(len(task.languages))
                    if place not in counted
                ]
    in_english = {name: sum(values) / len(values) if values else 0.0 for name, values in english.items()}
    return World(scores, examples, Truth(these, plain, in_english))


def _expected(scenario: Scenario, task: ScenarioTask, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """((arms, seeds, languages) expected scores, (arms, languages) true differences), in points."""
    arms, seeds, languages = scenario.arms + 1, scenario.seeds, len(task.languages)
    families, family_L = np.unique([family_of(code) for code in task.languages], return_inverse=True)
    group_L = np.array([family_of(code) in INDO_EUROPEAN for code in task.languages], dtype=int)
    effects_AL = rng.normal(0, scenario.sd.language, (arms, languages))
    effects_AL += rng.normal(0, scenario.sd.family, (arms, len(families)))[:, family_L]
    effects_AL += rng.normal(0, scenario.sd.group, (arms, 2))[:, group_L]
    effects_AL += np.array([[scenario.effect(arm, task.name)] for arm in range(arms)])
    effects_AL[0] = 0
    noise_ASL = rng.normal(0, scenario.sd.seed, (arms, seeds, 1))
    noise_ASL = noise_ASL + rng.normal(0, scenario.sd.cell, (arms, seeds, languages))
    if task.untrained:
        noise_ASL[0] = 0
    return scenario.score + effects_AL[:, None, :] + noise_ASL, effects_AL


class Counted:
    """The variance that examples add, computed from how many changed; for drawing many large runs."""

    fewest: int | None
    is_grouped = False

    def __init__(self, task: ScenarioTask, variances: Mapping[str, ExampleVariance]) -> None:
        self.fewest = task.examples
        self._variances = variances

    def variance(
        self, arm: str, against: str | None, seeds: Sequence[int], languages: Sequence[str]
    ) -> ExampleVariance | None:
        """The variance of two arms' difference: their changes from the baseline are independent, and add up."""
        sides = [self._variances[name] for name in (arm, against) if name not in (None, BASELINE)]
        return ExampleVariance(sum(one.total for one in sides), sum(one.joint for one in sides))

    def guess(self, languages: Sequence[str]) -> Guess:
        return Guess(None, None)


def _by_count(
    scenario: Scenario, task: ScenarioTask, expected_ASL: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, Counted]:
    """Scores as fractions: the expected ones plus the net share of examples that changed for the better or worse."""
    values_ASL, size = expected_ASL / 100, task.examples
    counted = [place for place, code in enumerate(task.languages) if code != ENGLISH]
    joint = scenario.changed_examples / 2 if task.parallel else 0.0
    own = scenario.changed_examples - joint
    variances = {}
    for number, name in enumerate(arm_names(scenario.arms)[1:], start=1):
        for_all = rng.binomial(size, joint / 2, 2)
        by_language_2L = rng.binomial(size, own / 2, (2, len(task.languages)))
        together, apart_L = (for_all[0] - for_all[1]) / size, (by_language_2L[0] - by_language_2L[1]) / size
        values_ASL[number] += together + apart_L
        shared = for_all.sum() / size**2 - together**2 / size
        alone_L = by_language_2L.sum(axis=0) / size**2 - apart_L**2 / size
        total = shared + alone_L[counted].sum() / len(counted) ** 2
        variances[name] = ExampleVariance(float(total), float(shared))
    return values_ASL, Counted(task, variances)


def _by_example(
    scenario: Scenario, task: ScenarioTask, expected_ASL: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, TaskOutcomes]:
    """Every example has a difficulty, the same for all arms and seeds, and is right if the expected score is above it.
    An arm finds some examples harder or easier than the baseline does: these get another difficulty."""
    size, base = task.examples, scenario.score / 100
    plain_LN = _difficulties(task, rng, joint=task.parallel)
    # of the examples with a new difficulty, a share of 2 p (1 - p) gets another outcome
    moved = min(1.0, scenario.changed_examples / (2 * base * (1 - base)))
    units, by_arm = np.arange(size, dtype=np.int32), {}
    values_ASL = np.empty_like(expected_ASL)
    for number, name in enumerate(arm_names(scenario.arms)):
        own_LN = plain_LN
        for share, joint in ((moved / 2, task.parallel), (moved / 2, False)) if number else ():
            chosen_LN = _difficulties(task, rng, joint=joint) < share
            own_LN = np.where(chosen_LN, _difficulties(task, rng, joint=joint), own_LN)
        by_seed = {}
        for seed in range(scenario.seeds):
            right_LN = own_LN < expected_ASL[number, seed][:, None] / 100
            values_ASL[number, seed] = right_LN.mean(axis=1)
            by_seed[seed + 1] = {
                code: LanguageOutcomes({"accuracy": right_LN[place]}, units, "", None, None)
                for place, code in enumerate(task.languages)
            }
        by_arm[name] = by_seed
    return values_ASL, TaskOutcomes(by_arm)


def _difficulties(task: ScenarioTask, rng: np.random.Generator, *, joint: bool) -> np.ndarray:
    """(languages, examples), uniform; the same in all languages if `joint`."""
    drawn_LN = rng.random((1 if joint else len(task.languages), task.examples))
    return np.broadcast_to(drawn_LN, (len(task.languages), task.examples))


def with_size(scenario: Scenario, *, seeds: int, arms: int, runs: int) -> Scenario:
    """The same world with another number of seeds, arms and runs; effects of arms beyond that number are dropped."""
    kept = tuple(one for one in scenario.effects if one.arm <= arms)
    return scenario.model_copy(update={"seeds": seeds, "arms": arms, "runs": runs, "effects": kept})
