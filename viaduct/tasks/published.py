"""Numbers of rows and scores that papers and dataset cards state, in the short forms that cards use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

XTREME_PAPER = "XTREME, arXiv 2003.11080"
REMBERT_PAPER = "Chung et al. 2021, arXiv 2010.12821"


@dataclass(frozen=True)
class Published:
    """A score from a paper, as a fraction, and its source."""

    model: str
    metric: str
    value: float
    source: str


def published_scores(
    source: str, metrics: Sequence[str], models: Mapping[str, Sequence[float]]
) -> tuple[Published, ...]:
    """The scores from one paper, one per model and metric."""
    return tuple(
        Published(model, metric, value, source)
        for model, values in models.items()
        for metric, value in zip(metrics, values, strict=True)
    )


def counts(languages: Iterable[str], **splits: int) -> dict[tuple[str, str], int]:
    """(language, split) -> number of rows, if all languages have the same number."""
    return {(language, split): rows for language in languages for split, rows in splits.items()}


def counts_of(splits: Sequence[str], languages: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], int]:
    """(language, split) -> number of rows, from the numbers of each language's splits; 0 means no such split."""
    return {
        (language, split): rows
        for language, numbers in languages.items()
        for split, rows in zip(splits, numbers, strict=True)
        if rows
    }
