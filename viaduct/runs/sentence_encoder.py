"""Sentence encoders: what their makers put before a text (a prompt) and after the last layer (pooling, dense layers,
normalising), read from `modules.json` and the files next to it, as the package sentence-transformers writes them. No
model is loaded here; `viaduct.models.sentences` does that.

How sentences become vectors in a target is decided here too: as the recipe says, else as the makers intended, else with
the layer that is best on dev data, if there are any.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.bounds import wording
from viaduct.runs.census import Census
from viaduct.runs.encoder import cached_file
from viaduct.runs.encoder_files import Json, read_json, shapes_in
from viaduct.runs.families import size
from viaduct.runs.gaps import text_needs
from viaduct.runs.parts import Pretrain, RecipeParts, Retrieval, Spec, TargetParts
from viaduct.tasks.hashes import file_sha256

POOLING = {
    "cls": ("pooling_mode_cls_token", "first"),
    "max": ("pooling_mode_max_tokens", "max"),
    "mean": ("pooling_mode_mean_tokens", "mean"),
    "mean_sqrt_len_tokens": ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len"),
    "weightedmean": ("pooling_mode_weightedmean_tokens", "weighted_mean"),
    "lasttoken": ("pooling_mode_lasttoken", "last"),
}
"""How a pooling module may pool the states: name in newer files -> (name in older files, name here). If an older file
sets several, they apply in this order, not the file's (sentence-transformers, modules/pooling.py at 03ba732)."""

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid")
"""Supported activations of dense modules."""

PROMPTS = ("BitextMining", "text-matching", "STS", "query")
"""Names of prompts suitable for translations, where both sides are alike; the first that the makers define is used."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SENTENCE = "sentence_embedding"
"""The input of a dense module, unless its configuration says otherwise."""
CHOOSING_LINES = 200
"""Lines of parallel text per language that are used when a layer is chosen among all layers."""

FIX = "name retrieval.layers in the recipe, to pool the encoder's own layers instead"


class Makers(Spec):
    """The modules that a sentence encoder's makers put around it."""

    pooling: tuple[str, ...]
    """Poolings of the last layer, by their names here (see `POOLING`)."""
    dense: tuple[str, ...] = ()
    """Folders of the dense modules that come after the pooling."""
    files: tuple[tuple[str, str], ...] = ()
    """(file of a dense module, its SHA-256)."""
    prompt: str = ""
    """Text put before every text."""
    lower: bool = False
    max_length: int | None = None
    encoder: str = wording()
    """Where the files are: a folder or a Hub name."""
    revision: str | None = wording()

    def words(self) -> str:
        """The modules in words, for a report."""
        dense = f", {len(self.dense)} dense module{'s' * (len(self.dense) > 1)}" if self.dense else ""
        prompt = f"prompt '{self.prompt}'" if self.prompt else "no prompt"
        return f"the makers' modules: {' and '.join(self.pooling)} pooling{dense}, normalised, {prompt}"


def makers_of(encoder: str | Pretrain, revision: str | None) -> Makers | None:
    """The modules of a ready-made sentence encoder; None for any other encoder.

    Raises UsageError for a module, a pooling or a file that cannot be used as intended.
    """
    if isinstance(encoder, Pretrain):
        return None
    files = _Files(encoder, revision)
    modules = files.read("modules.json", list)
    if modules is None:
        return None
    kinds = _kinds(files.at("modules.json"), modules)
    about = files.read("sentence_bert_config.json", dict) or {}
    longest = about.get("max_seq_length")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise UsageError(
            f"{files.at('sentence_bert_config.json')}: max_seq_length {longest!r} is not a length", fix=FIX
        )
    pooling, dense = _pooling(files, kinds[1][1]), tuple(path for kind, path in kinds if kind == "Dense")
    width = size(files.read("config.json", dict) or {}, "width")
    width = width and width * len(pooling)
    used: list[str] = []
    for path in dense:
        config, weights, width = _dense(files, path, width)
        used += [config, weights]
    return Makers(
        pooling=pooling,
        dense=dense,
        files=tuple((name, file_sha256(files.at(name))) for name in used),
        prompt=_prompt(files),
        lower=bool(about.get("do_lower_case")),
        max_length=longest,
        encoder=encoder,
        revision=revision,
    )


def is_sentence_encoder(encoder: str, revision: str | None) -> bool:
    """Whether the encoder's makers declare it a sentence encoder, whether or not its modules are supported."""
    return _Files(encoder, revision).has("modules.json")


def _kinds(path: Path, modules: list[Any]) -> list[tuple[str, str]]:
    """(kind, folder) of every module. Raises UsageError for modules that are not supported."""
    if not all(isinstance(one, dict) and {"type", "path"} <= one.keys() for one in modules):
        raise UsageError(f"{path} is not a list of modules, each with a type and a path", fix=FIX)
    kinds = [(str(one["type"]).rpartition(".")[2], str(one["path"])) for one in modules]
    known = {"Transformer", "Pooling", "Dense", "Normalize", "Dropout"}
    for one, (kind, _) in zip(modules, kinds, strict=True):
        if kind not in known or not str(one["type"]).startswith("sentence_transformers."):
            raise UsageError(f"{path}: a module '{one['type']}' is not supported", fix=FIX)
    order = " ".join(kind for kind, _ in kinds)
    if not re.fullmatch(r"Transformer Pooling( Dense| Dropout)*( Normalize)?", order):
        raise UsageError(f"{path}: {order.replace(' ', ', ')} is not a supported order", fix=FIX)
    if kinds[0][1] not in ("", "."):
        raise UsageError(f"{path}: an encoder in another folder ({kinds[0][1]}) is not supported", fix=FIX)
    return kinds


class _Files:
    """The files that come with an encoder."""

    def __init__(self, encoder: str, revision: str | None) -> None:
        self.encoder, self.revision = encoder, revision

    def has(self, name: str) -> bool:
        """Whether a file exists."""
        path = cached_file(self.encoder, self.revision, name)
        return path is not None and path.is_file()

    def at(self, name: str) -> Path:
        """The path of a file. Raises UsageError if it is missing."""
        path = cached_file(self.encoder, self.revision, name)
        if path is None or not path.is_file():
            raise UsageError(f"'{self.encoder}' has no {name}, which its modules.json names", fix=FIX)
        return path

    def read(self, name: str, form: type[Json]) -> Json | None:
        """The JSON in a file; None if it is missing."""
        return read_json(self.at(name), form) if self.has(name) else None


def _pooling(files: _Files, folder: str) -> tuple[str, ...]:
    path = files.at(f"{folder}/config.json")
    config = read_json(path, dict)
    names = {older: name for name, (older, _) in POOLING.items()}
    said = {key for key, value in config.items() if key.startswith("pooling_mode_") and value}
    asked = config.get("pooling_mode") or [names[key] for key in names if key in said] + sorted(said - names.keys())
    asked = [asked] if isinstance(asked, str) else asked
    if not asked or not config.get("include_prompt", True) or not set(asked) <= POOLING.keys():
        what = ", ".join(map(str, asked)) or "none"
        raise UsageError(f"{path}: pooling '{what}' is not supported, or not without the prompt", fix=FIX)
    return tuple(POOLING[mode][1] for mode in asked)


def _dense(files: _Files, folder: str, width: int | None) -> tuple[str, str, int]:
    """(configuration file, weights file, output width) of a dense module; `width`: the input width (None: unknown).
    Raises UsageError for a dense module that cannot be used as intended."""
    config = f"{folder}/config.json"
    weights = next((name for one in WEIGHTS if files.has(name := f"{folder}/{one}")), f"{folder}/{WEIGHTS[0]}")
    path = files.at(config)
    about = read_json(path, dict)
    out, taken = about.get("out_features"), about.get("in_features")
    activation = str(about.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise UsageError(f"{path}: the activation {activation} is not one of {', '.join(ACTIVATIONS)}", fix=FIX)
    if about.get("use_residual") or about.get("module_input_name", SENTENCE) != SENTENCE:
        raise UsageError(f"{path}: a dense module with a residual, or of tokens, is not supported", fix=FIX)
    found = shapes_in(files.at(weights)).get("linear.weight", (out, taken))
    if not isinstance(out, int) or (out, taken) != found or width not in (None, taken):
        what = f"takes {taken} values and gives {out}; there are {width or 'some'}, and its weights are {found}"
        raise UsageError(f"{path}: a dense module {what}", fix=FIX)
    return config, weights, out


def _prompt(files: _Files) -> str:
    """The makers' default prompt, else their prompt for translations, else ""."""
    config = files.read("config_sentence_transformers.json", dict) or {}
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise UsageError(f"{files.at('config_sentence_transformers.json')}: prompts are not texts by name", fix=FIX)
    return next((prompts[name] for name in (default, *PROMPTS) if name in prompts), "")


def makers_meant(how: Retrieval, recipe: RecipeParts) -> Makers | None:
    """The makers' modules of the recipe's encoder, with the recipe's own prompt if it has one. None if the recipe names
    layers or another pooling, and for an encoder that is not a sentence encoder."""
    if how.layers is not None or how.pooling != "mean":
        return None
    makers = makers_of(recipe.encoder, recipe.revision)
    return makers if makers is None or how.prompt is None else makers.model_copy(update={"prompt": how.prompt})


def vectors_of(
    target: TargetParts, recipe: RecipeParts, census: Census, *, trained: bool, replaced: bool = False
) -> tuple[Retrieval, Makers | None]:
    """How sentences become vectors in this target, with its layers resolved, and the makers' modules if those are used.

    Layers or another pooling that the recipe names take precedence. Otherwise, a sentence encoder is used as its makers
    intended; if a stage has `trained` it since, that is one candidate among the layers. For other encoders all layers
    are tried. Layers are only tried if there are dev data, and if torch predicts (nothing has `replaced` it).
    """
    how = target.retrieval
    makers = makers_meant(how, recipe)
    chosen = how.layers is None and not replaced and (makers is None or trained)
    has_text = chosen and census.task(how.choose_on).kind == "parallel" and chosen_in(target, census)
    if chosen and (census.task(target.task).row_kind.tuned_on or has_text):
        how = how.model_copy(update={"layers": "all"})
    return how, makers


def chosen_in(target: TargetParts, census: Census) -> tuple[str, ...]:
    """Languages of the target for which there is parallel text to choose a layer on. Raises UsageError if the card that
    the recipe names is not one of parallel text."""
    card = census.task(target.retrieval.choose_on)
    if card.kind != "parallel":
        raise UsageError(
            f"target {target.task}: choose_on names {card.name}, which is of kind '{card.kind}'",
            fix="name a card of kind parallel",
        )
    every = card.languages if target.languages in ("all", "available") else target.languages
    return tuple(code for _, _, code in text_needs((card.name,), every, census))
