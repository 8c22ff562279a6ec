"""How much a stage reads, and how much work that is: a rough forecast, before anything is tokenised.

It serves to order stages by size and to tell minutes from days; it is never reported as a measurement.
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
"""For Latin-script text in a large multilingual vocabulary; fewer in Chinese and Japanese."""
PREDICTION_TOKENS = 4_096
"""Token slots of a batch in prediction; does not change predictions beyond the last bits of a float. On a CPU, the
states of twice as many no longer fit its caches (12 x 384: 12 to 32 % slower)."""
BACKWARD = 2.0
"""Cost of a backward pass in forward passes."""


def passes(training: Training) -> float:
    """Cost of a training step in forward passes; the gradients of the encoder's states and of its weights cost one
    each, if they are computed."""
    halves = {"full": 2, "lora": 1, "frozen": 0}[training.encoder]
    return 1 + BACKWARD / 2 * halves


@dataclass(frozen=True)
class Estimate:
    """Approximate tokens through the encoder, and their weight in forward passes (a trained token counts three times,
    one that is guessed among the whole vocabulary counts more)."""

    tokens: float
    weight: float
    steps: float = 0.0
    """Batches that go through the encoder, one after the other."""
    seconds: float = 0.0
    """Time on any device besides that for opening and writing models: other processes that the stage starts."""
    peak_bytes: float | None = None
    """Peak memory of the process on the CPU; None if there is no forecast."""


@dataclass(frozen=True)
class Sizes:
    """What one stage reads, in rows and tokens; for missing files, the published numbers of rows times a typical
    length."""

    needs: Sequence[Need]
    substitutions: Sequence[Substitution]
    census: Census
    shape: Shape | None
    """Shape of the recipe's encoder; None if it is unknown."""
    begun: Shape | None = None
    """Shape of the encoder that the stage starts from."""

    def of(self, needs: Iterable[Need], cap: int | None = None) -> tuple[int, float]:
        """(rows, tokens) of these splits; `cap`: maximum tokens per row."""
        rows, tokens = 0, 0.0
        for task, split, language in needs:
            count, found = self._counted(*source_of(task, split, self.substitutions), language)
            substitution = substitution_for(task, split, self.substitutions)
            low, high = WHOLE if substitution is None else substitution.part
            rows += round(count * (high - low))
            tokens += (high - low) * (found if cap is None else min(found, float(cap * count)))
        return rows, tokens

    def _counted(self, task: str, split: str, language: str) -> tuple[int, float]:
        """(rows, tokens): from the files or, if they are missing, from the card (0 if it states no number)."""
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
        """Cost of masked LM per token, in passes that do not compute logits over the vocabulary."""
        return 1.0 if self.shape is None else 1.0 + mask_fraction * self.shape.guess_flops / self.shape.token_flops

    def training_bytes(self, training: Training, tokens: float, **more: Any) -> float | None:
        """Peak memory of a training on this many tokens of text in total; `more`: see `memory_forecast`."""
        if self.begun is None:
            return None
        return memory_forecast.training_bytes(self.begun, training, tokens, **more)

    def predicting_bytes(self) -> float | None:
        """Peak memory of a prediction."""
        return None if self.begun is None else memory_forecast.predicting_bytes(self.begun, PREDICTION_TOKENS)


def trained_tokens(tokens: float, rows: int, training: Training) -> float:
    """Number of tokens that a training processes, given this many tokens in this many rows."""
    share = 1.0 if training.train_rows is None or rows == 0 else min(1.0, training.train_rows / rows)
    wanted = tokens * share * training.epochs
    return wanted if training.max_steps is None else min(wanted, float(training.max_steps * training.batch_tokens))
