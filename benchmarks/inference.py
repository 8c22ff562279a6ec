"""Inference throughput, latency and memory: our engines against transformers' pipeline and others, on the same rows.

`python benchmarks/inference.py` prints a table for every shape and, as its last line, one JSON object with the ratios
and the raw samples. See docs/benchmarks.md for what is compared and how to read it. Models are created in a temporary
folder, or in `--models`, where later runs reuse them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fresh_process import answer, note
from inference_models import make_model, make_pairs
from inference_worker import Measurement, Request, measure
from training_rows import SHAPES

OURS = {
    "fp32": ("viaduct_torch_fp32", "viaduct_onnx_fp32", "viaduct_openvino_fp32"),
    "bf16": ("viaduct_torch_bf16", "viaduct_openvino_bf16"),
    "int8": ("viaduct_torch_int8", "viaduct_onnx_int8", "viaduct_openvino_int8"),
}
PIPELINES = ("pipeline_1", "pipeline_32")
ON_GPU = {
    "fp32": ("viaduct_torch_fp32", "pipeline_32"),
    "bf16": ("viaduct_torch_bf16", "pipeline_32_bf16"),
    "fp16": ("viaduct_torch_fp16", "pipeline_32_fp16"),
}
"""Format -> (our variant, the peer) on a GPU; of the two 16-bit formats, only the GPU's own is measured."""
ROWS_ON_GPU = (20_000, 4_000)
BARE = ("bare_onnx_fp32", "bare_openvino_fp32", "bare_onnx_int8", "bare_openvino_int8")
OTHERS = ("naive", "sentence_transformers")
EXPORTS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8"))
ROWS = {"24x1024": (480, 96), "12x768": (480, 96), "6x384": (1200, 256), "2x32": (48, 48)}
"""Number of timed rows in a full and in a quick run."""
TRAIN_SECONDS = {"24x1024": (0.0, 0.0), "12x768": (480.0, 0.0), "6x384": (120.0, 60.0), "2x32": (5.0, 5.0)}
"""Seconds for training in a full and in a quick run; with 0, the weights stay random."""
SINGLE_ROWS = (100, 40)
PADDING_ROWS = 5000
QUICK_LIMIT = 420.0
"""Seconds after which a quick run starts no further repetition."""
BARS = {
    "6x384": {"pipeline": 2.3, "pipeline_int8": 4.2},
    "12x768": {"pipeline": 1.75, "pipeline_int8": 4.5},
}
SINGLE_BAR, PRODUCTS_BAR, PADDING_BAR, AGREEMENT_BAR = 0.4, 0.8, 0.03, 0.99


def main() -> None:
    options = _options()
    started = time.monotonic()
    report: dict[str, Any] = {"ratios": {}, "cpu_ratios": {}, "bars": {}, "best": {}, "skipped": _skipped()}
    report |= {"products": {}, "ceilings": {}}
    report |= {"samples": {}, "cpu_samples": {}, "single_ms": {}, "peak_mib": {}, "load_seconds": {}, "agreement": {}}
    report |= {"right": {}, "versions": {"python": platform.python_version(), "numpy": np.__version__}}
    with tempfile.TemporaryDirectory() as scratch:
        models = options.models or Path(scratch)
        for name in options.shapes:
            right = _prepare(name, models / name, options)
            found = _repetitions(name, models / name, options, started)
            _print_table(name, found, right)
            (_add if options.device == "cpu" else _add_of_gpu)(report, name, found, right)
    report["padding"] = _padding(options.seed)
    report["bars"]["padding"] = _bar(report["padding"], report["padding"], bar=PADDING_BAR, at_most=True)
    _print_bars(report["bars"])
    report |= {
        "device": _device(options.device),
        "threads": options.threads,
        "quick": options.quick,
        "seed": options.seed,
        "total_seconds": time.monotonic() - started,
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and variants: under 10 minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), help="default 6x384 12x768; cuda: 12x768 24x1024")
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (default 3; quick: 2 if time)")
    parser.add_argument("--rows", type=int, help="timed rows (default by shape)")
    parser.add_argument("--train-seconds", type=float, help="for training each model (default by shape)")
    parser.add_argument("--models", type=Path, help="keep the models here, and use those that are there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--same-process", action="store_true", help="no process per measurement: peak memory is wrong")
    options = parser.parse_args()
    options.shapes = options.shapes or (["6x384", "12x768"] if options.device == "cpu" else ["12x768", "24x1024"])
    return options


def _prepare(name: str, folder: Path, options: argparse.Namespace) -> float | None:
    """Make the model and its exports unless they exist; returns the share it labels correctly, None if untrained."""
    from viaduct.serving.export import ExportSettings, export

    seconds = options.train_seconds
    if seconds is None and options.device != "cpu":
        seconds = 0.0  # what the model has learned does not change its cost
    if seconds is None:
        seconds = TRAIN_SECONDS[name][options.quick]
    if not (folder / "made.json").is_file():
        right = make_model(name, folder, options.seed, seconds)
        note(f"{name}: model made, {right:.1%} right" if seconds else f"{name}: model made, not trained")
        data = folder / "data"
        _write_text(data, name, options.seed)
        for engine, precision in EXPORTS if options.device == "cpu" else ():
            export(folder, folder / f"{engine}-{precision}", ExportSettings(engine, precision), data)
            note(f"{name}: exported for {engine} in {precision}")
        if options.device == "cpu":
            _link_bfloat16(folder)
        (folder / "made.json").write_text(json.dumps({"right": right if seconds else None}))
    found: float | None = json.loads((folder / "made.json").read_text())["right"]
    return found


def _write_text(data: Path, name: str, seed: int) -> None:
    """Write rows that are not timed as plain text: int8 is calibrated on them."""
    pairs = make_pairs(SHAPES[name], seed, SHAPES[name].set_rows)
    (data / "text").mkdir(parents=True)
    last = list(zip(pairs.first, pairs.second, strict=True))[-100:]
    (data / "text" / "en.txt.gz").write_text("".join(f"{first} {second}\n" for first, second in last))


def _link_bfloat16(folder: Path) -> None:
    """Link the float32 export's files for bfloat16, which OpenVINO computes from the same files."""
    place = folder / "openvino-bf16"
    place.mkdir()
    for path in (folder / "openvino-fp32").iterdir():
        if path.name != "export.json":
            (place / path.name).symlink_to(path.resolve())
    about = json.loads((folder / "openvino-fp32" / "export.json").read_text())
    (place / "export.json").write_text(json.dumps({**about, "precision": "bf16"}))


def _skipped() -> dict[str, str]:
    """Variants that are not measured here -> why."""
    if importlib.util.find_spec("torchvision") is not None:
        return {"sentence_transformers": "torchvision is installed, which breaks transformers beside this torch"}
    if importlib.util.find_spec("sentence_transformers") is None:
        return {"sentence_transformers": "not installed (pip install sentence-transformers)"}
    return {}


def _variants(options: argparse.Namespace) -> list[str]:
    if options.device != "cpu":
        from viaduct.models.numerics import quick_format

        return [one for format in dict.fromkeys(("fp32", quick_format(_torch_device()))) for one in ON_GPU[format]]
    without = {*_skipped(), *((*OURS["bf16"], *BARE[2:]) if options.quick else ())}
    if not _has_bfloat16():
        without.add("viaduct_openvino_bf16")
    every = (*PIPELINES, *OTHERS, *BARE, *(one for group in OURS.values() for one in group))
    return [one for one in every if one not in without]


def _has_bfloat16() -> bool:
    from viaduct.serving.engines import package

    return "BF16" in package("openvino", of="openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _repetitions(name: str, folder: Path, options: argparse.Namespace, started: float) -> dict[str, list[Measurement]]:
    """Measure every variant once, then every variant again, and so on; at least once."""
    variants = _variants(options)
    found: dict[str, list[Measurement]] = {variant: [] for variant in variants}
    wanted = options.repetitions or (2 if options.quick else 3)
    rows = options.rows or (ROWS[name] if options.device == "cpu" else ROWS_ON_GPU)[options.quick]
    for repetition in range(wanted):
        began = time.monotonic()
        for variant in variants:
            count = rows // 3 if variant == "naive" else rows  # all its rows cost the same, regardless of length
            singles = SINGLE_ROWS[options.quick]
            request = Request(variant, name, str(folder), count, singles, options.threads, options.seed, options.device)
            found[variant].append(_run(request, options))
            last = found[variant][-1]
            note(f"{name} {repetition + 1}/{wanted} {variant}: {count} rows in {last.seconds:.1f} s")
        now = time.monotonic()
        later = sum(200.0 for other in options.shapes[options.shapes.index(name) + 1 :] if other == "12x768")
        if options.quick and now + (now - began) + later > started + QUICK_LIMIT:
            break
    return found


def _run(request: Request, options: argparse.Namespace) -> Measurement:
    """The worker's answer, from a fresh process unless --same-process is set."""
    if options.same_process:
        return measure(request)
    return Measurement(**answer("inference_worker.py", asdict(request), options.threads))


def _rate(measurements: list[Measurement], *, cpu: bool = False) -> float:
    """Rows per second, median over repetitions."""
    return median(one.rows / (one.cpu_seconds if cpu else one.seconds) for one in measurements)


def _single(measurements: list[Measurement], percent: float = 50, *, cpu: bool = False) -> float:
    """Milliseconds for a single row: the percentile within each repetition, then the median over repetitions."""
    return median(float(np.percentile(one.single_cpu_ms if cpu else one.single_ms, percent)) for one in measurements)


def _agreement(found: dict[str, list[Measurement]], variant: str) -> float | None:
    """The share of rows on which a variant predicts the same as the pipeline; None if it gives no labels."""
    mine, theirs = found[variant][0].predictions, found[_reference(found)][0].predictions
    return float(np.mean(np.array(mine) == np.array(theirs[: len(mine)]))) if mine else None


def _reference(found: dict[str, list[Measurement]]) -> str:
    return next(one for one in (*PIPELINES, *found) if one in found)


def _best(found: dict[str, list[Measurement]], variants: tuple[str, ...]) -> str:
    return max((one for one in variants if one in found), key=lambda one: _rate(found[one]))


def _share_of_products(name: str, found: dict[str, list[Measurement]], variant: str) -> float:
    """Operations on real tokens per CPU second, including tokenising, relative to the rate of matrix products that the
    same process measured before and after (the better one); median over repetitions."""
    return median(
        SHAPES[name].forward_flops(one.tokens, one.squares) / one.cpu_seconds / one.products_per_second
        for one in found[variant]
    )


def _print_table(name: str, found: dict[str, list[Measurement]], right: float | None) -> None:
    first = found[_reference(found)][0]
    trained = "untrained" if right is None else f"{right:.1%} right"
    repetitions = len(found[_reference(found)])
    ceiling = median(one.products_per_second for measurements in found.values() for one in measurements)
    print(f"\npairs {name} ({trained}): {first.rows} rows, {first.tokens} tokens, {repetitions} repetition(s)")
    print(f"ceiling: {1e-9 * ceiling:.0f} GFLOP/s in products")
    print(
        f"{'':24}{'rows/s':>9}{'per CPU s':>11}{'products':>10}{'p50 ms':>9}{'p95 ms':>9}{'peak MiB':>10}{'load s':>8}"
        f"{'same':>9}"
    )
    for variant, measurements in found.items():
        agreement = _agreement(found, variant)
        peak, load = max(one.peak_mib for one in measurements), median(one.load_seconds for one in measurements)
        print(
            f"{variant:24}{_rate(measurements):>9,.1f}{_rate(measurements, cpu=True):>11,.1f}"
            f"{_share_of_products(name, found, variant):>10.0%}"
            f"{_single(measurements):>9.1f}{_single(measurements, 95):>9.1f}{peak:>10,.0f}{load:>8.1f}"
            f"{'-' if agreement is None else f'{agreement:.2%}':>9}"
        )


def _add_of_gpu(report: dict[str, Any], name: str, found: dict[str, list[Measurement]], right: float | None) -> None:
    """Add this shape's GPU numbers to the report: each format against the pipeline in the same one, by wall clock."""
    _add_samples(report, name, found, right)
    for format, (ours, peer) in ON_GPU.items():
        if ours not in found:
            continue
        key = f"pairs_{name}/pipeline_{format}"
        report["ratios"][key] = _rate(found[ours]) / _rate(found[peer])
        report["ratios"][f"{key}_p50"] = _single(found[ours]) / _single(found[peer])
        report["ratios"][f"pairs_{name}/products_{format}"] = median(
            SHAPES[name].forward_flops(one.tokens, one.squares) / one.seconds / one.products_per_second
            for one in found[ours]
        )


def _add_samples(report: dict[str, Any], name: str, found: dict[str, list[Measurement]], right: float | None) -> None:
    key = f"pairs_{name}"
    for variant, measurements in found.items():
        place = f"{key}/{variant}"
        report["samples"][place] = [one.rows / one.seconds for one in measurements]
        report["cpu_samples"][place] = [one.rows / one.cpu_seconds for one in measurements]
        report["single_ms"][place] = [one.single_ms for one in measurements]
        report["peak_mib"][place] = max(one.peak_mib for one in measurements)
        report["products"][place] = _share_of_products(name, found, variant)
        report["ceilings"][place] = [one.products_per_second for one in measurements]
        report["load_seconds"][place] = [one.load_seconds for one in measurements]
        report["agreement"][place] = _agreement(found, variant)
        report["versions"] |= measurements[0].versions
    report["right"][key] = right


def _add(report: dict[str, Any], name: str, found: dict[str, list[Measurement]], right: float | None) -> None:
    """Add this shape's numbers to the report."""
    key = f"pairs_{name}"
    _add_samples(report, name, found, right)
    best = {
        precision: _best(found, variants)
        for precision, variants in OURS.items()
        if not found.keys().isdisjoint(variants)
    }
    pipeline = _best(found, PIPELINES)
    quickest = min(
        (one for group in OURS.values() for one in group if one in found), key=lambda one: _single(found[one])
    )
    report["best"][key] = {**best, "pipeline": pipeline, "single": quickest}
    for label, ours, peer in _pairs_to_compare(found, best, pipeline):
        report["ratios"][f"{key}/{label}"] = _rate(found[ours]) / _rate(found[peer])
        report["cpu_ratios"][f"{key}/{label}"] = _rate(found[ours], cpu=True) / _rate(found[peer], cpu=True)
    for place, cpu in (("ratios", False), ("cpu_ratios", True)):
        singles = [_single(found[one], cpu=cpu) for one in (quickest, PIPELINES[0])]
        report[place][f"{key}/pipeline_p50"] = singles[0] / singles[1]
    report["ratios"][f"{key}/products"] = _share_of_products(name, found, best["fp32"])
    for peer, bar in {**BARS.get(name, {}), "pipeline_p50": SINGLE_BAR}.items():
        place = f"{key}/{peer}"
        both = report["ratios"][place], report["cpu_ratios"][place]
        report["bars"][place] = _bar(*both, bar=bar, at_most=peer == "pipeline_p50")
    if name == "12x768":
        share = report["ratios"][f"{key}/products"]
        report["bars"][f"{key}/products"] = _bar(share, share, bar=PRODUCTS_BAR)
    if right is not None:
        same = np.mean(np.array(found[best["int8"]][0].predictions) == np.array(found[best["fp32"]][0].predictions))
        report["bars"][f"{key}/int8_agreement"] = _bar(float(same), float(same), bar=AGREEMENT_BAR)


def _pairs_to_compare(
    found: dict[str, list[Measurement]], best: dict[str, str], pipeline: str
) -> list[tuple[str, str, str]]:
    """(name of the ratio, our variant, the peer's): our best engine against peers without an engine, and each of our
    engines against the same one without us."""
    pairs = [("pipeline", best["fp32"], pipeline)]
    pairs += [
        (f"pipeline_{precision}", best[precision], pipeline) for precision in ("bf16", "int8") if precision in best
    ]
    pairs += [(peer, best["fp32"], peer) for peer in OTHERS if peer in found]
    return pairs + [(peer, peer.replace("bare", "viaduct"), peer) for peer in BARE if peer in found]


def _bar(value: float, cpu_value: float, *, bar: float, at_most: bool = False) -> dict[str, Any]:
    """One target: by wall clock, and by CPU seconds, which other work on the machine affects less."""
    met, cpu_met = ((one <= bar) if at_most else (one >= bar) for one in (value, cpu_value))
    return {"value": value, "cpu_value": cpu_value, "bar": bar, "met": met, "met_by_cpu": cpu_met}


def _print_bars(bars: dict[str, dict[str, Any]]) -> None:
    print(f"\n{'':32}{'clock':>9}{'CPU':>9}{'bar':>9}")
    for name, one in bars.items():
        words = "met" if one["met"] else "missed; met by CPU seconds" if one["met_by_cpu"] else "missed"
        print(f"{name:32}{one['value']:>9.3f}{one['cpu_value']:>9.3f}{one['bar']:>9}  {words}")


def _padding(seed: int) -> float:
    """The share of padding in the prediction batches of 5,000 rows."""
    from viaduct.encode.batch import padding_fraction, plan_batches
    from viaduct.runs.sizes import PREDICTION_TOKENS

    lengths = make_pairs(SHAPES["12x768"], seed, PADDING_ROWS).lengths
    widths = np.ones_like(lengths)
    return padding_fraction(lengths, widths, plan_batches(lengths, widths, PREDICTION_TOKENS, None))


def _device(device: str) -> str:
    from viaduct.serving.machine import device_name

    return device_name(device)


def _torch_device() -> Any:
    import torch

    return torch.device("cuda")


if __name__ == "__main__":
    main()
