"""Export of a trained model to a folder that ONNX Runtime, OpenVINO or transformers loads without Viaduct.

The vocabulary may be trimmed to some languages and the upper layers removed; the result is then compared with the
whole model in torch and float32, on labelled rows if there are any, and the model card says what was lost.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import StrictUndefined, Template

from viaduct import __version__
from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Encoded, Limits, forget_truncation
from viaduct.errors import DataError, UsageError, unknown
from viaduct.inference.auto_model import CLASSES
from viaduct.languages import language as language_of
from viaduct.models.encoder import longest_input, num_layers, width
from viaduct.models.layers import pick_layers
from viaduct.models.numerics import finite
from viaduct.paths import is_vacant
from viaduct.results.working import working_folder
from viaduct.serving.compressing import Texts, renumber, trimmed
from viaduct.serving.compression import is_calibrated
from viaduct.serving.convert import write_model
from viaduct.serving.engines import FILES, PACKAGES, Engine, ExportedEngine, TorchEngine, require_engine
from viaduct.serving.history import History, history
from viaduct.serving.losses import NO_LABELS, NO_ROWS, Side, grouped, losses
from viaduct.serving.metadata import TYPES, metadata
from viaduct.serving.model import LoadedModel, encoder_folder, open_model, require_model
from viaduct.serving.samples import (
    SAMPLE_ROWS,
    Sample,
    batches,
    card_sample,
    labelled_sample,
    made_up,
    text_sample,
    with_builtin_cards,
)
from viaduct.serving.transformers_folder import (
    TRANSFORMERS,
    TransformersEngine,
    named_labels,
    require_same,
    write_transformers,
)
from viaduct.tasks.citing import bibtex, is_non_commercial
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.formats import text_lines

LONGEST_INPUT = 512
"""Most tokens of an input that the model card's script passes to the model."""
UNKNOWN_LIMITS = Limits(128)
"""How rows are truncated if the training's limits are not known."""
MADE_LENGTHS = (5, 9, 16, 30, 60)
"""Lengths, in tokens, of the made-up sequences that are used if there are no rows."""
THREADS = 1
"""CPU threads of the engines that are compared."""


@dataclass(frozen=True)
class ExportSettings:
    """How to export a model."""

    engine: str
    precision: str = "fp32"
    languages: tuple[str, ...] = ()
    """Keep the vocabulary of these languages' text; () without `text` keeps all of it."""
    text: tuple[Path, ...] = ()
    """Also keep the vocabulary of these files, one text per line."""
    layers: int | None = None
    """Keep this many of the lowest layers; None: all."""


def export(
    folder: Path,
    directory: Path,
    settings: ExportSettings,
    data: Path | None = None,
    sample: Sample | None = None,
) -> dict[str, Any]:
    """Write the exported model to a new directory; returns its description as plain values (also in `export.json`).

    `data` is searched for text and rows to trim with, to calibrate int8 on and to compare on; `sample` gives rows for
    the last two instead. Raises UsageError if the request cannot be met, and leaves nothing behind in that case.
    """
    _require_engine(settings)
    if not is_vacant(directory):
        raise UsageError(f"{directory} already exists", fix="name a new folder, or remove it")
    require_model(folder)
    source, known = open_model(folder), history(folder)
    files = with_builtin_cards(data)
    texts = _texts(settings, files)
    layers_before = num_layers(source.model.encoder)
    if settings.layers is not None:
        pick_layers(source.model.encoder, range(1, settings.layers + 1))
    source, kept = trimmed(source, texts) if texts else (source, None)
    limits = source.model.within(known.limits or UNKNOWN_LIMITS)
    samples = _samples(source, known, texts, files) if sample is None else [sample]
    encoded = [(one, one.encoded(source.tokenizer, limits)) for one in samples]
    rows = labelled_sample(known.task, files) if sample is None else sample
    with working_folder(directory.parent, ".") as unfinished:
        calibrated = _write_files(source, settings, folder, unfinished, encoded)
        about = {
            "engine": settings.engine,
            "precision": settings.precision,
            "inputs": list(source.inputs),
            "output": source.output,
            "head": None if source.spec is None else {"kind": source.spec.kind, "labels": list(source.spec.labels)},
            "pad_id": source.tokenizer.pad_token_id,
            "task": known.task,
            **asdict(limits),
            "source": known.name,
            "layers": num_layers(source.model.encoder),
            "layers_before": layers_before,
            "languages": list(settings.languages),
            "vocabulary": None if kept is None else asdict(kept),
            "comparison": _comparison(folder, source, settings, unfinished, rows, encoded, limits),
            "num_bytes": sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file()),
            "viaduct": __version__,
        }
        text = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
        (unfinished / "export.json").write_text(text, encoding="utf-8")
        card = _model_card(source, known, about, calibrated)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
        (unfinished / "citations.bib").write_text(bibtex(known.cards), encoding="utf-8")
        unfinished.replace(directory)
    return about


def _require_engine(settings: ExportSettings) -> None:
    if settings.engine not in (*FILES, TRANSFORMERS):
        raise unknown("engine to export for", settings.engine, (*FILES, TRANSFORMERS))
    if settings.engine != TRANSFORMERS:
        require_engine(settings.engine, settings.precision)
    elif settings.precision != "fp32":
        raise UsageError(f"{settings.precision}: transformers' folders are in float32", fix="leave --precision out")


def _texts(settings: ExportSettings, data: DataFolder | None) -> Texts:
    """The lines whose vocabulary is kept: from the text card in the chosen languages, and from plain files, one
    text per line.

    Raises UsageError when languages are named without a data folder, and DataError for missing files.
    """
    texts: dict[str, Sequence[str]] = {}
    for code in settings.languages:
        if data is None:
            raise UsageError(
                "--languages needs the folder with the text of these languages",
                fix="name it with --data (it holds text/LL.txt.gz), or name files with --text",
            )
        language_of(code)
        texts[code] = [row.texts[0] for row in data.read("text", "train", code).rows]
    for path in settings.text:
        if not path.is_file():
            raise DataError("there is no such text file", path=path, fix="name a file with one text per line")
        texts[path.name] = text_lines(path)
    return texts


def _samples(source: LoadedModel, known: History, texts: Texts, data: DataFolder | None) -> list[Sample]:
    """Rows of the task that the head was trained on and lines of the texts; without either, lines of the text card."""
    of_task = card_sample(known.task, data, ("dev", "train"), SAMPLE_ROWS) if source.spec is not None else None
    found = [of_task, text_sample(texts)]
    if found == [None, None]:
        found = [card_sample("text", data, ("train",), SAMPLE_ROWS)]
    return [one for one in found if one is not None]


def _write_files(
    source: LoadedModel,
    settings: ExportSettings,
    origin: Path,
    folder: Path,
    encoded: Sequence[tuple[Sample, Encoded]],
) -> str:
    """Write model, configuration and tokenizer; returns what int8 was calibrated on, in words ("" if it was not)."""
    calibration: list[Batch] = []
    if is_calibrated(settings.engine, settings.precision):
        calibration = [batch for _, one in encoded for batch in batches(one, source.tokenizer.pad_token_id)]
        if not calibration:
            raise UsageError(
                "OpenVINO's int8 is calibrated on real text, but there is none",
                fix="name a data folder with --data, or files with --text, or use --engine onnx",
            )
    config = copy.deepcopy(source.config)
    renumber(config, source.tokenizer)
    if source.spec is not None and source.spec.labels:
        config.id2label, config.label2id = named_labels(source.spec.labels)
    if settings.engine == TRANSFORMERS:
        write_transformers(source, config, encoder_folder(origin), folder)
    else:
        write_model(source, settings.engine, settings.precision, folder, calibration)
        config.save_pretrained(folder)
    forget_truncation(source.tokenizer)
    source.tokenizer.save_pretrained(folder)
    return "; ".join(f"{len(sample.rows):,} rows of {sample.name}" for sample, _ in encoded) if calibration else ""


def _comparison(
    folder: Path,
    source: LoadedModel,
    settings: ExportSettings,
    place: Path,
    rows: Sample | None,
    encoded: Sequence[tuple[Sample, Encoded]],
    limits: Limits,
) -> dict[str, Any]:
    """What was lost compared with the whole model in `folder` (see `losses`), and what engine and precision change: the
    `largest_difference` of any output value, at real tokens of `rows` (described in words), from the model as it was
    cut, in torch and float32. `cut`: whether layers or vocabulary were removed.
    """
    cut = settings.layers is not None or bool(settings.languages or settings.text)
    made = Side(source, _opened(place, settings, source))
    same = TorchEngine(source, "fp32", THREADS)
    names, parts = [sample.name for sample, _ in encoded], [one for _, one in encoded]
    if not parts:
        lengths = [length for length in MADE_LENGTHS if length <= longest_input(source.model.encoder)]
        names, parts = [f"{len(lengths)} made-up sequences"], [made_up(source.tokenizer, lengths)]
    largest = max(_difference(same, made.engine, batch) for part in parts for batch in batches(part, made.pad_id))
    if settings.engine == TRANSFORMERS:
        require_same(largest, source)
    whole = Side(source, same)
    if cut:
        loaded = open_model(folder)
        whole = Side(loaded, TorchEngine(loaded, "fp32", THREADS))
    texts = [(sample.encoded(whole.model.tokenizer, limits), one) for sample, one in encoded if sample.card is None]
    if not texts:
        texts = [(_renumbered(one, source.tokenizer, whole.model.tokenizer), one) for one in parts]
    return {
        "rows": "; ".join(names),
        "largest_difference": largest,
        "cut": cut,
        **losses(whole, made, rows, texts, limits),
    }


def _opened(place: Path, settings: ExportSettings, source: LoadedModel) -> Engine:
    if settings.engine == TRANSFORMERS:
        return TransformersEngine(place, source)
    return ExportedEngine(place, settings.engine, settings.precision, source, THREADS)


def _renumbered(encoded: Encoded, words: Any, whole: Any) -> Encoded:
    """The same pieces, with their ids in the whole vocabulary."""
    if words is whole:
        return encoded
    ids = whole.convert_tokens_to_ids(words.convert_ids_to_tokens(encoded.ids.tolist()))
    return replace(encoded, ids=np.asarray(ids, dtype=encoded.ids.dtype))


def _difference(one: Engine, other: Engine, batch: Batch) -> float:
    """The largest difference between two outputs, at real tokens. Raises NumbersError if it is not finite."""
    gap = (one(batch) - other(batch)).abs()
    if gap.ndim == 3 and batch.mask_BL is not None:
        gap = torch.where(batch.mask_BL[..., None], gap, 0.0)
    return finite(float(gap.max()), "the difference between the outputs of the export and of its source")


def _model_card(source: LoadedModel, known: History, about: dict[str, Any], calibrated: str) -> str:
    """The text of README.md: what the model is, where it comes from, what was measured, and a script that runs it
    without Viaduct; what is not known is marked as such."""
    text = (Path(__file__).parent / "model_card.md.j2").read_text(encoding="utf-8")
    template = Template(
        text, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    kind, package = None if source.spec is None else source.spec.kind, PACKAGES.get(about["engine"], TRANSFORMERS)
    labels = () if source.spec is None else source.spec.labels
    head, left_out = metadata(
        known,
        TYPES.get(kind or "", "text-classification") if labels or kind == "span" else "",
        "sentence-transformers" if about["engine"] == TRANSFORMERS and kind is None else package,
        is_source=about["precision"] == "fp32" and not about["comparison"]["cut"],
    )
    card: str = template.render(
        about=about,
        history=known,
        metadata=head,
        left_out=left_out,
        kind=kind,
        labels=labels,
        tokenizer=source.tokenizer,
        pieces=len(source.tokenizer),
        config=source.config,
        width=width(source.model.encoder),
        longest=min(LONGEST_INPUT, longest_input(source.model.encoder)),
        package=package,
        opener=CLASSES.get(source.spec.kind, "") if source.spec else "AutoModel",
        calibrated=calibrated,
        restricted=[one.name for one in known.cards if is_non_commercial(one.licence)],
        no_rows=NO_ROWS,
        no_labels=NO_LABELS,
        groups=grouped(about["comparison"], about["languages"]),
    )
    return card
