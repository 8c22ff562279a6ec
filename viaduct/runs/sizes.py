"""How much a stage reads, and how much work that is: a rough forecast, before anything is tokenised.

Good for ordering stages by size and for telling minutes from days; never reported as a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from viaduct.runs import memory_forecast
from viaduct.runs.census import Census
from viaduct.runs.encoder import Shape
from viaduct.runs.parts import Substitution, Training
from viaduct.runs.rows import WHOLE, Need, source_of, substitution_for

CHARACTERS_PER_TOKEN = 4.0
"""Of Latin-script text in a large multilingual vocabulary; fewer in Chinese and Japanese."""
PREDICTION_TOKENS = 4_096
"""Slots of a batch that is only predicted; does not change predictions beyond the last bits of a float. On a CPU,
states of twice as many leave its caches (12 x 384: 12 to 32 % slower)."""
BACKWARD = 2.0
"""Cost of a backward pass in forward passes."""


def passes(training: Training) -> float:
    """Cost of a training step in forward passes: the gradient of the encoder's states, and that of its weights."""
    halves = {"full": 2, "lora": 1, "frozen": 0}[training.encoder]
    return 1 + BACKWARD / 2 * halves


@dataclass(frozen=True)
class Estimate:
    """Rough tokens through the encoder, and their weight in forward passes (a trained token counts three times, one
    that is guessed among the whole vocabulary more)."""

    tokens: float
    weight: float
    steps: float = 0.0
    """Batches that go through the encoder, each in its turn."""
    seconds: float = 0.0
    """What it takes besides opening and writing models, on whatever device: other processes that it starts."""
    peak_bytes: float | None = None
    """What the process holds at most, on the CPU; None where that is not forecast."""


@dataclass(frozen=True)
class Sizes:
    """What one stage reads, in rows and tokens; of files that are not there, the published numbers of rows times a
    usual length."""

    needs: Sequence[Need]
    substitutions: Sequence[Substitution]
    census: Census
    shape: Shape | None
    """Of the recipe's encoder; None where nothing here says it."""
    begun: Shape | None = None
    """Of the encoder that the stage begins with."""

    def of(self, needs: Iterable[Need], cap: int | None = None) -> tuple[int, float]:
        """(rows, tokens) of these; `cap`: tokens of a row at most."""
        rows, tokens = 0, 0.0
        for task, split, language in needs:
            count, found = self._counted(*source_of(task, split, self.substitutions), language)
            substitution = substitution_for(task, split, self.substitutions)
            low, high = WHOLE if substitution is None else substitution.part
            rows += round(count * (high - low))
            tokens += (high - low) * (found if cap is None else min(found, float(cap * count)))
        return rows, tokens

    def _counted(self, task: str, split: str, language: str) -> tuple[int, float]:
        """(rows, tokens): from the files, or where they are not there from the card (none when it states no number)."""
        if self.census.problem(task, split, language, labelled=False) is None:
            count = self.census.count(task, split, language)
            rows, tokens = count.found, count.characters / CHARACTERS_PER_TOKEN
        else:
            card = self.census.task(task)
            rows = card.expected.get((language, split), 0)
            tokens = float(rows * card.row_kind.tokens_per_row)
        limit = self.census.data.limit
        return (rows, tokens) if limit is None or rows <= limit else (limit, tokens * limit / rows)

    def guessing(self, mask_fraction: float) -> float:
        """What masked LM costs for each token, in passes without its vocabulary."""
        return 1.0 if self.shape is None else 1.0 + mask_fraction * self.shape.guess_flops / self.shape.token_flops

    def training_bytes(self, training: Training, tokens: float, **more: Any) -> float | None:
        """What a training on so many tokens of text in all holds at most; `more`: see `memory_forecast`."""
        if self.begun is None:
            return None
        return memory_forecast.training_bytes(self.begun, training, tokens, **more)

    def predicting_bytes(self) -> float | None:
        """What a prediction holds at most."""
        return None if self.begun is None else memory_forecast.predicting_bytes(self.begun, PREDICTION_TOKENS)


def trained_tokens(tokens: float, rows: int, training: Training) -> float:
    """Tokens that a training goes through of so many in so many rows."""
    share = 1.0 if training.train_rows is None or rows == 0 else min(1.0, training.train_rows / rows)
    wanted = tokens * share * training.epochs
    return wanted if training.max_steps is None else min(wanted, float(training.max_steps * training.batch_tokens))
