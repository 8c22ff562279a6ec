"""The card of the scaling benchmark's made-up pairs; it has no files, since the stages are given the rows directly."""

from inference_models import LABELS

from viaduct.metrics.classification import accuracy
from viaduct.tasks.card import Task

CARD = Task(
    name="scaling-pairs",
    version=1,
    title="Made-up pairs",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="scaling-pairs",
    licence="made for benchmarks",
    citation="",
)
