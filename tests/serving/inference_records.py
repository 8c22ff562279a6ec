"""Made-up measurements of the inference cost of arms."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from viaduct.serving.records import ArmInference, MeasuredArms


def profile(**changes: Any) -> dict[str, Any]:
    """A profile in the form that `viaduct profile` writes."""
    conditions = {
        "format": 1,
        "device": "a processor, 4 CPUs",
        "threads": 1,
        "rows": "200 examples: xnli test, 2 languages",
        "rows_digest": "d",
        "warm_up": 5,
        "tokenising": "not included",
        "load_average_before": 0.1,
    }
    found: dict[str, Any] = {
        "model": "m",
        "engine": "torch",
        "precision": "fp32",
        "cost": {
            "parameters": {"total": 300, "token_embedding": 200, "rest": 100},
            "flops_per_sentence": 2e9,
            "tokens_per_sentence": 30.0,
            "by_language": {"en": {"tokens_per_sentence": 21.0}, "th": {"tokens_per_sentence": 39.0}},
        },
        "latency_ms": {"p50": 12.5, "p95": 20.0, "p99": 25.0, "n": 200},
        "throughput": {"examples_per_second": 120.0},
        "peak_bytes": {"before_loading": 1, "after_loading": 2, "in_all": 3 * 2**30},
        "disk_bytes": 2**30,
        "load_seconds": 2.0,
        "energy_joules_per_example": "not available",
        "conditions": conditions,
        "versions": {"python": "3.11", "torch": "2.13.0"},
    }
    return found | changes


def arm(
    name: str, *, factor: float = 1.0, spread: float = 0.01, rounds: int = 30, keys: str = "k", **changes: Any
) -> ArmInference:
    """An arm whose model takes `factor` times as long as the first one's, give or take `spread`."""
    noise = random.Random(name)
    return ArmInference(
        arm=name,
        engine="torch",
        precision="fp32",
        keys=keys,
        profile=profile(**changes),
        seconds=tuple(factor * (1 + noise.gauss(0, spread)) for _ in range(rounds)),
        against=tuple(1 + noise.gauss(0, spread) for _ in range(rounds)),
    )


def stage(arms: Sequence[ArmInference]) -> MeasuredArms:
    """The Measure stage's result; the others are compared with the first arm."""
    return MeasuredArms(
        task="xnli", seed=1, first=arms[0].arm, round_rows=16, load_average_before=0.3, arms=tuple(arms)
    )
