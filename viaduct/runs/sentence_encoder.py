"""Sentence encoders: what their makers put before a text (a prompt) and behind the last layer (pooling, dense layers,
normalising), from `modules.json` and the files beside it, as the package sentence-transformers writes them. Nothing is
loaded here; `viaduct.models.sentences` does that.

How sentences become vectors in a target is decided here too: as the recipe says, else as the makers mean it, else with
the layer that is best on dev data where there are any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.census import Census
from viaduct.runs.encoder import cached_file
from viaduct.runs.gaps import text_needs
from viaduct.runs.parts import Pretrain, RecipeParts, Retrieval, Spec, TargetParts, wording
from viaduct.tasks.hashes import file_sha256

POOLING = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
"""What a pooling module may do with the states; several are set side by side."""
SHORT_POOLING = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}
"""The same by the names of newer files."""

PROMPTS = ("BitextMining", "text-matching", "STS", "query")
"""Names of prompts for translations, where both sides are alike; the first of these that the makers have counts."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CHOOSING_LINES = 200
"""Of parallel text in a language, where a layer is chosen among all of them."""

FIX = "name retrieval.layers in the recipe, to pool the encoder's own layers instead"


class Makers(Spec):
    """The modules of a sentence encoder's makers."""

    pooling: tuple[str, ...]
    """Of the last layer: "first", "mean", "max", "last"."""
    dense: tuple[str, ...] = ()
    """Folders of the dense modules that come after it."""
    files: tuple[tuple[str, str], ...] = ()
    """(file of the dense modules, SHA-256)."""
    prompt: str = ""
    """Before every text."""
    lower: bool = False
    max_length: int | None = None
    encoder: str = wording()
    """Where the files are: a folder or a Hub name."""
    revision: str | None = wording()

    def words(self) -> str:
        """What they are, for a report."""
        dense = f", {len(self.dense)} dense module{'s' * (len(self.dense) > 1)}" if self.dense else ""
        prompt = f"prompt '{self.prompt}'" if self.prompt else "no prompt"
        return f"the makers' modules: {' and '.join(self.pooling)} pooling{dense}, normalised, {prompt}"


def makers_of(encoder: str | Pretrain, revision: str | None) -> Makers | None:
    """The modules of a ready-made encoder that is a sentence encoder, None of another.

    Raises UsageError for a module, a pooling or a file that cannot be used as it is meant.
    """
    if isinstance(encoder, Pretrain):
        return None
    files = _Files(encoder, revision)
    modules = files.read("modules.json")
    if modules is None:
        return None
    if not isinstance(modules, list) or not all(
        isinstance(one, dict) and {"type", "path"} <= one.keys() for one in modules
    ):
        raise UsageError(f"{files.at('modules.json')} is no list of modules, each with a type and a path", fix=FIX)
    kinds = [(str(one["type"]).rpartition(".")[2], str(one["path"])) for one in modules]
    known = {"Transformer", "Pooling", "Dense", "Normalize", "Dropout"}
    if other := [kind for kind, _ in kinds if kind not in known]:
        raise UsageError(f"{files.at('modules.json')}: a module '{other[0]}' is not supported", fix=FIX)
    order = [kind for kind, _ in kinds]
    if not re.fullmatch(r"Transformer Pooling( Dense| Dropout)*( Normalize)?", " ".join(order)):
        raise UsageError(f"{files.at('modules.json')}: {', '.join(order)} is no order that is supported", fix=FIX)
    about = files.read("sentence_bert_config.json") or {}
    dense = tuple(path for kind, path in kinds if kind == "Dense")
    longest = about.get("max_seq_length")
    return Makers(
        pooling=_pooling(files, kinds[1][1]),
        dense=dense,
        files=tuple((name, file_sha256(files.at(name))) for path in dense for name in _dense_files(files, path)),
        prompt=_prompt(files.read("config_sentence_transformers.json") or {}),
        lower=bool(about.get("do_lower_case")),
        max_length=longest if isinstance(longest, int) else None,
        encoder=encoder,
        revision=revision,
    )


class _Files:
    """The files beside an encoder."""

    def __init__(self, encoder: str, revision: str | None) -> None:
        self.encoder, self.revision = encoder, revision

    def at(self, name: str) -> Path:
        """Where one is. Raises UsageError where it is not there."""
        path = cached_file(self.encoder, self.revision, name)
        if path is None or not path.is_file():
            raise UsageError(f"'{self.encoder}' has no {name}, which its modules.json names", fix=FIX)
        return path

    def read(self, name: str) -> Any:
        """Its JSON; None where it is not there."""
        path = cached_file(self.encoder, self.revision, name)
        if path is None or not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path} is no JSON: {error}", fix="download it again") from error


def _pooling(files: _Files, folder: str) -> tuple[str, ...]:
    name = f"{folder}/config.json"
    config = json.loads(files.at(name).read_text(encoding="utf-8"))
    modes = config.get("pooling_mode")
    asked = [modes] if isinstance(modes, str) else modes
    known = SHORT_POOLING if asked else POOLING
    asked = asked or [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if not asked or not config.get("include_prompt", True) or not set(asked) <= known.keys():
        what = ", ".join(map(str, asked)) or "none"
        raise UsageError(f"{files.at(name)}: pooling '{what}' is not supported, or not without the prompt", fix=FIX)
    return tuple(known[mode] for mode in asked)


def _dense_files(files: _Files, folder: str) -> Iterator[str]:
    yield f"{folder}/config.json"
    for name in WEIGHTS:
        path = cached_file(files.encoder, files.revision, f"{folder}/{name}")
        if path is not None and path.is_file():
            yield f"{folder}/{name}"
            return
    files.at(f"{folder}/{WEIGHTS[0]}")  # which says that it is not there


def _prompt(config: dict[str, Any]) -> str:
    """The makers' default one, else theirs for translations, else none."""
    prompts: dict[str, str] = config.get("prompts") or {}
    return next((prompts[name] for name in (config.get("default_prompt_name"), *PROMPTS) if name in prompts), "")


def makers_meant(how: Retrieval, recipe: RecipeParts) -> Makers | None:
    """The modules of the makers of the recipe's encoder, with its own prompt where it has one; None where it says
    otherwise, and for an encoder that is no sentence encoder."""
    if how.layers is not None or how.pooling != "mean":
        return None
    makers = makers_of(recipe.encoder, recipe.revision)
    return makers if makers is None or how.prompt is None else makers.model_copy(update={"prompt": how.prompt})


def vectors_of(
    target: TargetParts, recipe: RecipeParts, census: Census, *, trained: bool, replaced: bool = False
) -> tuple[Retrieval, Makers | None]:
    """How sentences become vectors in this target, with its layers as they are meant, and the makers' modules where
    those are used.

    Layers or another pooling that the recipe names are what counts. Else a sentence encoder is used as its makers mean
    it; where a stage has `trained` it since, that is one choice beside the layers. Of other encoders all layers are
    tried. Layers are tried only where there are dev data, and torch predicts (nothing has `replaced` it).
    """
    how = target.retrieval
    makers = makers_meant(how, recipe)
    chosen = how.layers is None and not replaced and (makers is None or trained)
    has_text = chosen and census.task(how.choose_on).kind == "parallel" and chosen_in(target, census)
    if chosen and (census.task(target.task).row_kind.tuned_on or has_text):
        how = how.model_copy(update={"layers": "all"})
    return how, makers


def chosen_in(target: TargetParts, census: Census) -> tuple[str, ...]:
    """Languages of the target in which there is parallel text to choose a layer on. Raises UsageError where the card
    that the recipe names holds none."""
    card = census.task(target.retrieval.choose_on)
    if card.kind != "parallel":
        raise UsageError(
            f"target {target.task}: choose_on names {card.name}, which is of kind '{card.kind}'",
            fix="name a card of kind parallel",
        )
    every = card.languages if target.languages in ("all", "available") else target.languages
    return tuple(code for _, _, code in text_needs((card.name,), every, census))
