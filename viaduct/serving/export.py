"""A trained model as a folder that ONNX Runtime's or OpenVINO's own users load without Viaduct.

The vocabulary may be cut to some languages and the upper layers taken away; what was made is then compared with the
same model in torch and float32, and the model card says how near it is.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from viaduct import __version__
from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Encoded, Limits, forget_truncation
from viaduct.errors import UsageError, unknown
from viaduct.inference.predict import predict_all
from viaduct.models.encoder import longest_input, num_layers, pick_layers, width
from viaduct.serving import model_card
from viaduct.serving.convert import input_names, output_name, write_model
from viaduct.serving.engines import FILES, PACKAGES, Engine, TorchEngine, open_engine, require
from viaduct.serving.origin import Origin, origin
from viaduct.serving.trained import Trained, open_trained
from viaduct.serving.trial import (
    TRIAL_ROWS,
    Trial,
    batches,
    card_rows,
    encoded_rows,
    made_up,
    text_card_rows,
    text_rows,
)
from viaduct.serving.trimming import Part, Texts, gather, renumber, trimmed

LONGEST = 512
UNKNOWN_LIMITS = Limits(128)
"""How rows are cut where the training did not say."""
MADE_LENGTHS = (5, 9, 16, 30, 60)
"""Tokens of the made-up sequences that stand for rows where there are none."""


@dataclass(frozen=True)
class Wanted:
    """What to make of a model."""

    engine: str
    precision: str = "fp32"
    languages: tuple[str, ...] = ()
    """Keep the vocabulary of these languages' text; () and no `text`: all of it."""
    text: tuple[Path, ...] = ()
    """Also keep the vocabulary of these files, one text per line."""
    layers: int | None = None
    """Keep this many; None: all."""
    threads: int = 1


@dataclass(frozen=True)
class Comparison:
    """An export beside its source in torch and float32, after trimming: what engine and precision change."""

    rows: str
    """What was compared, in words."""
    largest_difference: float
    """Of any number in the output, real tokens only."""
    agreement: float | None
    """Share of rows with the same prediction; None without rows of the task."""
    count: int

    def words(self) -> str:
        """One line for people."""
        numbers = f"no output differs by more than {self.largest_difference:.2g} ({self.rows})"
        if self.agreement is None:
            return numbers
        return f"{self.agreement:.2%} of {self.count:,} predictions are the same; {numbers}"


def export(
    folder: Path, directory: Path, wanted: Wanted, data: Path | None = None, trial: Trial | None = None
) -> dict[str, Any]:
    """Write the exported model into a new directory; what was made, as plain values (also in its `export.json`).

    `data` is where text and rows are looked for: to trim, to calibrate int8, to compare; `trial`: rows for the last two
    that need not be looked for. Raises UsageError for what cannot be done as asked, and leaves nothing behind then.
    """
    if wanted.engine not in FILES:
        raise unknown("engine to export for", wanted.engine, FILES)
    require(wanted.engine, wanted.precision)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is there already", fix="name a new folder, or remove it")
    source = open_trained(folder)
    known = origin(folder)
    texts = gather(wanted.languages, wanted.text, data)
    layers_before = num_layers(source.model.encoder)
    if wanted.layers is not None:
        pick_layers(source.model.encoder, range(1, wanted.layers + 1))
    source, part = trimmed(source, texts) if texts else (source, None)
    trials = _trials(source, known, texts, data) if trial is None else [trial]
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        calibrated = _convert(source, wanted, unfinished, known, trials)
        about = _about(source, wanted, known)
        _write_json(unfinished / "export.json", about)
        compared = _compare(source, wanted, unfinished, known, trials)
        about |= {
            "layers_before": layers_before,
            "vocabulary": None if part is None else asdict(part),
            "comparison": asdict(compared),
            "num_bytes": sum(path.stat().st_size for path in unfinished.iterdir()),
        }
        _write_json(unfinished / "export.json", about)
        _write_card(unfinished / "README.md", source, known, part, about, calibrated, compared)
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return about


def _trials(source: Trained, known: Origin, texts: Texts, data: Path | None) -> list[Trial]:
    """Rows of the task that the head was trained on, and lines of the texts, or of any text card there is."""
    of_task = card_rows(known.task, data, ("dev", "train"), TRIAL_ROWS) if source.spec is not None else None
    of_text = text_rows(texts, TRIAL_ROWS)
    found = [trial for trial in (of_task, of_text) if trial is not None]
    anything = [] if found else [text_card_rows(data, TRIAL_ROWS)]
    return found + [trial for trial in anything if trial is not None]


def _limits(source: Trained, known: Origin) -> Limits:
    limits = known.limits or UNKNOWN_LIMITS
    return Limits(min(limits.max_length, longest_input(source.model.encoder)), limits.stride)


def _encoded(source: Trained, known: Origin, trial: Trial) -> Encoded:
    return encoded_rows(trial, source.tokenizer, _limits(source, known))


def _convert(source: Trained, wanted: Wanted, folder: Path, known: Origin, trials: Sequence[Trial]) -> str:
    """Write model and tokenizer; what int8 was calibrated on, in words ("" where it was not)."""
    calibration: list[Batch] | None = None
    if (wanted.engine, wanted.precision) == ("openvino", "int8"):
        calibration = [
            batch
            for trial in trials
            for batch in batches(_encoded(source, known, trial), source.tokenizer.pad_token_id)
        ]
        if not calibration:
            raise UsageError(
                "OpenVINO's int8 is calibrated on real text, and there is none",
                fix="name a data folder with --data, or files with --text, or use --engine onnx",
            )
    write_model(source, wanted.engine, wanted.precision, folder, calibration)
    _config(source).save_pretrained(folder)
    forget_truncation(source.tokenizer)
    source.tokenizer.save_pretrained(folder)
    if calibration is None:
        return ""
    return "; ".join(f"{len(trial.rows):,} rows of {trial.name}" for trial in trials)


def _config(source: Trained) -> Any:
    """The encoder's configuration with the labels, and the special tokens' ids as they are now."""
    config = copy.deepcopy(source.config)
    renumber(config, source.tokenizer)
    if source.spec is not None and source.spec.labels:
        config.id2label = dict(enumerate(source.spec.labels))
        config.label2id = {label: number for number, label in enumerate(source.spec.labels)}
    return config


def _about(source: Trained, wanted: Wanted, known: Origin) -> dict[str, Any]:
    return {
        "engine": wanted.engine,
        "precision": wanted.precision,
        "inputs": list(input_names(source)),
        "output": output_name(source.model),
        "head": None if source.spec is None else {"kind": source.spec.kind, "labels": list(source.spec.labels)},
        "pad_id": source.tokenizer.pad_token_id,
        "task": known.task,
        **asdict(_limits(source, known)),
        "source": known.name,
        "layers": num_layers(source.model.encoder),
        "viaduct": __version__,
    }


def _compare(source: Trained, wanted: Wanted, folder: Path, known: Origin, trials: Sequence[Trial]) -> Comparison:
    torch_engine = TorchEngine(source, "fp32", wanted.threads)
    exported = open_engine(folder, wanted.engine, wanted.precision, wanted.threads)
    pad_id = source.tokenizer.pad_token_id
    lengths = [length for length in MADE_LENGTHS if length <= longest_input(source.model.encoder)]
    encoded = [_encoded(source, known, trial) for trial in trials] or [made_up(source.tokenizer, lengths)]
    names = [trial.name for trial in trials] or [f"{len(lengths)} made-up sequences"]
    largest = max(_difference(torch_engine, exported, batch) for part in encoded for batch in batches(part, pad_id))
    agreement, count = None, 0
    if trials and source.spec is not None and trials[0].task == known.task:
        pair = [
            [one.prediction for one in predict_all(engine, source.spec, trials[0].rows, encoded[0], pad_id, _silent)]
            for engine in (torch_engine, exported)
        ]
        count = len(trials[0].rows)
        agreement = sum(one == other for one, other in zip(*pair, strict=True)) / count
    return Comparison("; ".join(names), largest, agreement, count)


def _difference(one: Engine, other: Engine, batch: Batch) -> float:
    """The largest difference of two outputs, at real tokens."""
    gap = (one(batch) - other(batch)).abs()
    if gap.ndim == 3 and batch.mask_BL is not None:
        gap = torch.where(batch.mask_BL[..., None], gap, 0.0)
    return float(gap.max())


def _silent(_done: float, _total: float, _note: str) -> None:
    """No progress bar."""


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_card(
    path: Path,
    source: Trained,
    known: Origin,
    part: Part | None,
    about: dict[str, Any],
    calibrated: str,
    compared: Comparison,
) -> None:
    spec = source.spec
    model_card.write(
        path,
        about["engine"],
        None if spec is None else spec.kind,
        {
            **{name: about[name] for name in ("inputs", "output", "precision", "viaduct", "layers", "layers_before")},
            "name": known.name,
            "steps": known.steps,
            "scores": known.scores,
            "labels": () if spec is None else spec.labels,
            "package": PACKAGES[about["engine"]],
            "architecture": source.config.model_type,
            "width": width(source.model.encoder),
            "precision_words": _precision(about["engine"], about["precision"], calibrated),
            "pieces": len(source.tokenizer),
            "part": part,
            "unknown": source.tokenizer.unk_token,
            "longest": min(LONGEST, longest_input(source.model.encoder)),
            "pad_id": source.tokenizer.pad_token_id,
            "pad_token": source.tokenizer.pad_token,
            "num_bytes": about["num_bytes"],
            "compared": compared.words(),
        },
    )


def _precision(engine: str, precision: str, calibrated: str) -> str:
    if precision == "fp32":
        return "float32"
    if precision == "bf16":
        return "stored in float32, calculated in bfloat16"
    if engine == "onnx":
        return "int8 weights and token embedding; inputs of products are quantised as they come (dynamic)"
    return f"int8, static; ranges measured on {calibrated}"
