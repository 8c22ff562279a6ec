"""Inference costs of the arms' models, from a Measure stage: one line per arm, how they compare, and a summary.

Models that were measured under different conditions are not compared: there are no lines then, and `refusal` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from viaduct.errors import UsageError
from viaduct.languages import name_of
from viaduct.metrics.speed import MeasuredInference, Ratio, Speed, speed, time_ratio
from viaduct.report.number import count, duration
from viaduct.results.record import StageCost
from viaduct.serving.compression import GPU, UNCHANGED
from viaduct.serving.records import ArmInference, MeasuredArms

CONDITIONS = ("format", "device", "threads", "rows", "rows_digest", "warm_up", "tokenising")
"""Conditions that must be equal for two profiles to be compared."""


@dataclass(frozen=True)
class InferenceLine:
    """What one arm's model costs at inference."""

    arm: str
    engine: str
    precision: str
    parameters_embedding: int
    """Parameters of the token embedding."""
    parameters_rest: int
    flops_per_sentence: float
    tokens_per_sentence: float
    latency_ms_p50: float
    """Latency of a single sentence."""
    latency_ms_p95: float
    latency_ms_p99: float
    sentences_per_second: float
    """Throughput in batches of the best size."""
    peak_bytes: int | None
    """Peak memory of the process, including Python and libraries; on a GPU, of its memory; None if not reported."""
    disk_bytes: int
    load_seconds: float
    joules_per_sentence: float | None
    """None if the machine does not report it."""
    tokens: Mapping[str, float]
    """Language -> tokens per sentence."""
    measured: MeasuredInference
    ratio: Ratio | None
    """Ratio of its time to the first arm's; None with too few rounds."""
    speed: Speed

    def dumped(self) -> dict[str, Any]:
        """This line as a row of `inference.csv`."""
        told = {field.name: getattr(self, field.name) for field in fields(self)[:15]}
        names = ("time_ratio", "time_ratio_low", "time_ratio_high")
        return {**told, **dict(zip(names, self.ratio or (None,) * 3, strict=True)), "verdict": self.speed}

    @property
    def name(self) -> str:
        """The arm's name, followed by engine and precision unless these are torch and fp32."""
        how = (self.engine, self.precision)
        return self.arm if how == UNCHANGED else f"{self.arm} ({' '.join(how)})"

    @property
    def token_range(self) -> str:
        """Tokens per sentence of the languages with the fewest and the most: "21 (English) to 48 (Thai)"; "" if the
        rows have no language."""
        by_length = sorted(self.tokens, key=lambda code: (self.tokens[code], code))
        names = {code: name_of(code) for code in by_length}
        ends = (by_length[0], by_length[-1]) if by_length else ()
        return " to ".join(f"{count(self.tokens[code])} ({names[code]})" for code in ends)

    @property
    def shape(self) -> tuple[object, ...]:
        """Key that is equal for two models that differ only in the values of their weights."""
        one = self.measured
        return one.keys, one.parameters, one.flops, self.engine, self.precision


@dataclass(frozen=True)
class Inference:
    """Everything that the report page says about inference."""

    first: str
    """The arm that the others are compared with."""
    lines: tuple[InferenceLine, ...]
    conditions: tuple[str, ...]
    """Conditions of the measurements, in words."""
    words: tuple[str, ...]
    """The findings, in sentences."""
    refusal: str
    """Why nothing is compared; "" if there is a comparison."""


def compare(found: Sequence[MeasuredArms], costs: Sequence[StageCost]) -> Inference | None:
    """The comparison of the arms measured by a stage; None when nothing was measured."""
    if not found:
        return None
    stage = found[0]
    first = stage.arms[0]
    try:
        for other in stage.arms[1:]:
            require_comparable(first.profile, other.profile)
    except UsageError as error:
        return Inference(stage.first, (), conditions(stage), (), str(error))
    lines = tuple(_line(one, len(stage.arms) - 1) for one in stage.arms)
    return Inference(stage.first, lines, conditions(stage), _words(lines, costs), "")


def require_comparable(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise UsageError, which lists the differences, for two profiles that were measured under different conditions:
    their numbers are not silently compared."""
    differences = [
        f"{name.replace('_', ' ')}: {one['conditions'][name]} against {other['conditions'][name]}"
        for name in CONDITIONS
        if one["conditions"][name] != other["conditions"][name]
    ]
    shared = one["versions"].keys() & other["versions"].keys()
    apart = [name for name in sorted(shared) if one["versions"][name] != other["versions"][name]]
    if apart:
        shown = ", ".join(f"{name} {one['versions'][name]} against {other['versions'][name]}" for name in apart)
        differences.append(f"versions: {shown}")
    if differences:
        lines = "".join(f"\n  - {difference}" for difference in differences)
        raise UsageError(
            f"{_named(one)} and {_named(other)} were measured under different conditions:{lines}",
            fix="measure both in the same way",
        )


def _named(found: Mapping[str, Any]) -> str:
    return f"{found['model']} ({found['engine']}, {found['precision']})"


def _line(one: ArmInference, compared: int) -> InferenceLine:
    profile = one.profile
    cost, latency, joules = profile["cost"], profile["latency_ms"], profile["energy_joules_per_example"]
    parameters, flops = cost["parameters"], cost["flops_per_sentence"]
    measured = MeasuredInference(one.arm, one.keys, parameters["total"], flops, one.seconds, one.against)
    ratio = time_ratio(measured, compared)
    return InferenceLine(
        arm=one.arm,
        engine=one.engine,
        precision=one.precision,
        parameters_embedding=parameters["token_embedding"],
        parameters_rest=parameters["rest"],
        flops_per_sentence=flops,
        tokens_per_sentence=cost["tokens_per_sentence"],
        latency_ms_p50=latency["p50"],
        latency_ms_p95=latency["p95"],
        latency_ms_p99=latency["p99"],
        sentences_per_second=profile["throughput"]["examples_per_second"],
        peak_bytes=profile["peak_bytes"]["in_all"],
        disk_bytes=profile["disk_bytes"],
        load_seconds=profile["load_seconds"],
        joules_per_sentence=None if isinstance(joules, str) else joules,  # "not available" in older profiles
        tokens={code: part["tokens_per_sentence"] for code, part in cost["by_language"].items()},
        measured=measured,
        ratio=ratio,
        speed=speed(ratio),
    )


def conditions(stage: MeasuredArms) -> tuple[str, ...]:
    """The first arm's measuring conditions, in words; those of the other arms are equal if they are compared."""
    about: Mapping[str, Any] = stage.arms[0].profile["conditions"]
    versions: dict[str, str] = {}
    for one in stage.arms:
        versions |= one.profile["versions"]
    threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)}"
    where = f"On a {about['device']}" if about["device"].startswith(GPU) else f"On the CPU ({about['device']})"
    return (
        f"{where}, {threads}; load average of the machine beforehand: {stage.load_average_before:.1f}.",
        f"{about['rows']}; {about['tokenising']}: turning text into tokens. Models of seed {stage.seed}.",
        f"Latency is for one sentence at a time, throughput for batches sorted by length, at the best of several "
        f"sizes; {about['warm_up']} warm-up sentences or batches before each.",
        f"Ratios are from {len(stage.arms[0].seconds)} paired rounds of {stage.round_rows} sentences, in each of which "
        f"the arm's model and that of “{stage.first}” took turns in one process.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in sorted(versions.items()))}.",
    )


def _words(lines: Sequence[InferenceLine], costs: Sequence[StageCost]) -> tuple[str, ...]:
    first, others = lines[0], lines[1:]
    sentences = [_control(first)]
    same = all(line.shape == first.shape and line.speed == "unchanged" for line in others)
    if others and same and first.speed == "unchanged":
        sentences.append(
            f"Every arm costs the same at inference as “{first.arm}”: the same names and shapes of weights, as many "
            "parameters and operations, and an unchanged time. An intermediate stage cannot make inference "
            f"cheaper; its cost is paid once{_paid(costs)}."
        )
    elif others:
        sentences += _by_speed(first, others)
    return tuple(sentences)


def _control(first: InferenceLine) -> str:
    """What measuring two copies of the same model says about the accuracy of the method."""
    if first.ratio is None:
        rounds = len(first.measured.seconds)
        return f"With {rounds} rounds, nothing can be said about the ratio of times: 20 are needed."
    between = f"{first.ratio.low:.3f} to {first.ratio.high:.3f}"
    told = {
        "unchanged": "as they should be",
        "cannot tell": "so the machine was too busy to resolve differences below 5 %",
    }.get(first.speed, "which they should not: the ratios below are off by as much")
    return f"Two copies of “{first.arm}” took {between} times each other's time, {told}."


def _by_speed(first: InferenceLine, others: Sequence[InferenceLine]) -> list[str]:
    found = {verdict: [line.name for line in others if line.speed == verdict] for verdict in _SAID}
    return [
        f"{said[len(found[verdict]) > 1].format(', '.join(found[verdict]), first.arm)}."
        for verdict, said in _SAID.items()
        if found[verdict]
    ]


_SAID: Mapping[Speed, tuple[str, str]] = {
    "faster": ("{} is faster than “{}”", "{} are faster than “{}”"),
    "slower": ("{} is slower than “{}”", "{} are slower than “{}”"),
    "unchanged": ("{} takes as long as “{}”", "{} take as long as “{}”"),
    "cannot tell": ("Nothing can be said about {} against “{}”",) * 2,
}


def _paid(costs: Sequence[StageCost]) -> str:
    """Training time of the intermediate stages, in words."""
    stages = {cost.path: cost for cost in costs if "/intermediate" in cost.path}.values()
    if not stages:
        return ""
    devices = sorted({cost.computed for cost in stages})
    return f", here {duration(sum(cost.seconds for cost in stages))} of training ({'; '.join(devices)}) for all arms"
