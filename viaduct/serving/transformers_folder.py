"""A trained model as one of transformers' own classes, so that `AutoModelFor...` opens it and gives the same logits.

An encoder without a head becomes a sentence-transformers folder: with its makers' modules if its own folder has them,
else with the mean of the last layer's states.

Shape letters: B sequences, L tokens, C classes.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.inference.auto_model import CLASSES, AutoModelLogits, class_of
from viaduct.models.encoder import save_encoder, width
from viaduct.models.tokenizer_file import quieten
from viaduct.models.weights_check import first_line
from viaduct.serving.engines import Engine
from viaduct.serving.model import LoadedModel

TRANSFORMERS = "transformers"
PLACES = {
    "dense": ("classifier.dense", "{base}.pooler.dense", "pooler.dense", "{base}.pooler"),
    "out": ("classifier.out_proj", "qa_outputs", "classifier"),
}
"""Layer of our head -> names of that layer in transformers' architectures."""
LARGEST_DIFFERENCE = 1e-4
"""Largest accepted difference of any logit; another function in the head (GELU for tanh) differs by far more."""
_FIX = "export for ONNX Runtime or OpenVINO (--engine onnx), which take any head"


def write_transformers(source: LoadedModel, config: Any, origin: Path, folder: Path) -> None:
    """Write the model with this configuration, labels included; `origin` is the folder of its encoder.

    Raises UsageError if transformers has no class for it, or one with other layers in its head.
    """
    quieten()
    if source.spec is None:
        save_encoder(source.model.encoder, source.tokenizer, folder)
        config.save_pretrained(folder)
        _write_sentence_modules(origin, width(source.model.encoder), folder)
        return
    model = _with_head(source, config)
    model.save_pretrained(folder)


def _with_head(source: LoadedModel, config: Any) -> Any:
    assert source.spec is not None and source.model.head is not None  # noqa: S101  a model with a head
    config = copy.deepcopy(config)
    config.num_labels = {"choice": 1, "span": 2}.get(source.spec.kind, len(source.spec.labels))
    if source.spec.labels:
        config.id2label, config.label2id = named_labels(source.spec.labels)
    if hasattr(config, "pooler_hidden_act"):
        config.pooler_hidden_act = "tanh"  # DeBERTa's configuration says GELU; our head has tanh, which it can express
    name = CLASSES.get(source.spec.kind, "")
    try:
        model = class_of(source.spec.kind).from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise UsageError(f"transformers has no {name} for {config.model_type}: {first_line(error)}", fix=_FIX) from None
    base = model.base_model
    state = source.model.encoder.state_dict()
    unexpected = base.load_state_dict(state, strict=False).unexpected_keys
    prefix = f"{model.base_model_prefix}."
    filled = {prefix + key for key in state} | _fill_head(model, source.model.head)
    left = [*unexpected, *sorted(model.state_dict().keys() - filled - _unused(model))]
    if left:
        what = f"{name} of {config.model_type} has layers that this model lacks: {', '.join(left[:3])}"
        raise UsageError(f"transformers' {what}", fix=_FIX)
    return model.eval()


def named_labels(labels: tuple[str, ...]) -> tuple[dict[int, str], dict[str, int]]:
    """`id2label` and `label2id` of a configuration."""
    return dict(enumerate(labels)), {label: number for number, label in enumerate(labels)}


def _unused(model: Any) -> set[str]:
    """Entries of the state that our encoder and head need not fill: buffers of position and token type ids."""
    return {name for name in model.state_dict() if name.endswith(("position_ids", "token_type_ids"))}


def _fill_head(model: Any, head: nn.Module) -> set[str]:
    """Copy the head's layers to the model's; returns the names of the parameters that were filled."""
    modules = dict(model.named_modules())
    filled = set()
    for part, layer in head.named_children():
        if not isinstance(layer, nn.Linear):
            continue
        places = [place.format(base=model.base_model_prefix) for place in PLACES.get(part, ())]
        place = next((name for name in places if isinstance(modules.get(name), nn.Linear)), None)
        if place is None or modules[place].weight.shape != layer.weight.shape:
            what = f"the head of {type(model).__name__} has no layer like '{part}' in the trained one"
            raise UsageError(f"{what}, so its logits would differ", fix=_FIX)
        modules[place].load_state_dict(layer.state_dict())
        filled |= {f"{place}.{name}" for name in layer.state_dict()}
    return filled


def require_same(difference: float, source: LoadedModel) -> None:
    """Raise UsageError if the logits differ from those of the trained model."""
    if difference > LARGEST_DIFFERENCE and source.spec is not None:
        what = f"{CLASSES[source.spec.kind]} of {source.config.model_type} computes its head differently"
        raise UsageError(f"transformers' {what}: logits differ by up to {difference:.2g}", fix=_FIX)


def _write_sentence_modules(origin: Path, size: int, folder: Path) -> None:
    if (origin / "modules.json").is_file():
        for module in json.loads((origin / "modules.json").read_text(encoding="utf-8")):
            if module["path"]:
                shutil.copytree(origin / module["path"], folder / module["path"])
        for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            if (origin / name).is_file():
                shutil.copy(origin / name, folder / name)
        return
    types = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(types.items())
    ]
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": size, "pooling_mode_mean_tokens": True}
    for name, value in {"modules.json": modules, "1_Pooling/config.json": pooling}.items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


class TransformersEngine(Engine):
    """An exported folder as transformers itself runs it."""

    def __init__(self, folder: Path, source: LoadedModel) -> None:
        super().__init__(TRANSFORMERS, "fp32", source.spec)
        self.model = AutoModelLogits(str(folder), None if source.spec is None else source.spec.kind, source.inputs)

    def forward(self, batch: Batch) -> torch.Tensor:
        """logits_BC, logits_BLC, or the states of the last layer."""
        output: torch.Tensor = self.model(batch)
        return output
