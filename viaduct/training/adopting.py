"""Encoders that others trained further: the text towers of open_clip and M-CLIP, and anything that `AutoModel` opens.

Names of weights: open_clip `src/open_clip/hf_model.py` (a transformers `transformer` and a `proj`, under `text.` in
the whole model); FreddeFrallan/Multilingual-CLIP `multilingual_clip/pt_multilingual_clip.py` (a `transformer` and a
`LinearTransformation`).
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import nn

from viaduct.errors import UsageError
from viaduct.models.encoder import load_encoder, load_tokenizer, save_encoder
from viaduct.models.tokenizer_file import agrees, largest_id, probed
from viaduct.models.weights_check import first_line, not_finite
from viaduct.results.writing import canonical, write_atomic
from viaduct.runs.encoder import OPEN_CLIP_FILES, expanded, is_m_clip
from viaduct.runs.encoder_files import require_only_weights, safetensors_header
from viaduct.runs.stage import Context, Spent
from viaduct.training.adopt import AdoptWork

OPEN_CLIP, M_CLIP = "text.transformer.", "transformer."
"""Prefixes of the names of a text encoder's weights in the files of these two."""
M_CLIP_FILES = ("model.safetensors", "pytorch_model.bin")
NOT_USED = ("pooler.", "embeddings.position_ids", "embeddings.token_type_ids")
"""Prefixes of the names of weights that a text encoder may have but no head here uses."""


class Tower(NamedTuple):
    """The file of a text tower, and the prefix of its weights' names."""

    file: Path
    prefix: str


class Opened(NamedTuple):
    """An encoder in evaluation mode, and the names in its file of the weights that were loaded and left out."""

    encoder: nn.Module
    loaded: tuple[str, ...]
    left: tuple[str, ...]


def adopt(context: Context, work: AdoptWork) -> Spent:
    """Write the encoder as a folder that `AutoModel` opens, with the tokenizer of the encoder the stage starts from.

    Raises UsageError, naming the file, if weights or tokenizer are not those of an encoder that was trained from it.
    """
    found = _open(work, context.start, context.revision)
    save_encoder(found.encoder, load_tokenizer(context.start, context.revision), context.directory / "encoder")
    told = {"encoder": work.encoder, "revision": work.revision, "loaded": found.loaded, "left": found.left}
    write_atomic(context.directory / "adopted.json", canonical(told))
    return Spent()


def require_released(work: AdoptWork, start: str, revision: str | None) -> None:
    """Raise UsageError for what `adopt` would refuse when starting from the encoder `start`."""
    _open(work, expanded(start), revision)


def _open(work: AdoptWork, start: str, revision: str | None) -> Opened:
    tower = _tower(work)
    if tower is not None and not work.compared:
        raise UsageError(
            f"{tower.file} holds a text tower, which does not state its own shape",
            fix='name the arm whose encoder it was trained from as its `parent` ("none": the recipe\'s)',
        )
    _require_same_ids(work, start, revision, alone=tower is not None)
    if tower is not None:
        return _opened_tower(tower, load_encoder(start, revision), start)
    encoder = load_encoder(expanded(work.encoder), work.revision)
    names = tuple(encoder.state_dict())
    if work.compared:
        _require_alike(encoder.state_dict(), load_encoder(start, revision).state_dict(), work.encoder, start)
    return Opened(encoder, names, ())


def _opened_tower(tower: Tower, encoder: nn.Module, start: str) -> Opened:
    """The tower's weights, loaded into the encoder that it was trained from."""
    found, others = _weights(tower)
    own = {name: weight for name, weight in found.items() if not name.startswith(NOT_USED)}
    _require_alike(own, encoder.state_dict(), str(tower.file), start)
    encoder.load_state_dict(own)
    left = [tower.prefix + name for name in found if name not in own]
    return Opened(encoder, tuple(tower.prefix + name for name in own), (*left, *others))


def _require_alike(found: Mapping[str, Any], meant: Mapping[str, Any], where: str, start: str) -> None:
    wrong = [(name, "is missing") for name in meant if name not in found]
    wrong += [(name, f"is not among those of {start}") for name in found if name not in meant]
    wrong += [
        (name, f"has the shape {tuple(found[name].shape)}, but in {start} {tuple(weight.shape)}")
        for name, weight in meant.items()
        if name in found and found[name].shape != weight.shape
    ]
    wrong += [(name, "has non-finite values") for name in not_finite(found)]
    if wrong:
        raise UsageError(
            f"{where}: {len(wrong)} of the text encoder's weights are not those of an encoder that was trained from"
            f" {start}: {wrong[0][0]} {wrong[0][1]}",
            fix="name the arm whose encoder it was trained from as `parent`, or download the file again",
        )


def _weights(tower: Tower) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """(the text encoder's weights by their names without the prefix, the names of all others)."""
    try:
        if tower.file.suffix == ".safetensors":
            safetensors_header(tower.file)
            with safe_open(tower.file, "pt") as file:
                names = list(file.keys())
                found = {name: file.get_tensor(name) for name in names if name.startswith(tower.prefix)}
        else:
            require_only_weights(tower.file)
            mapped = zipfile.is_zipfile(tower.file)
            every = torch.load(tower.file, map_location="cpu", weights_only=True, mmap=mapped)
            names, found = list(every), {name: every[name] for name in every if name.startswith(tower.prefix)}
    except UsageError:
        raise
    except Exception as error:  # torch and safetensors may raise anything on unknown files
        raise UsageError(f"{tower.file} cannot be read: {first_line(error)}", fix="download it again") from error
    others = tuple(name for name in names if name not in found)
    return {name.removeprefix(tower.prefix): weight for name, weight in found.items()}, others


def _tower(work: AdoptWork) -> Tower | None:
    """The text tower; None for an encoder that `AutoModel` opens, or refuses with its own message."""
    for name in OPEN_CLIP_FILES:
        if (file := _file(work, name)) is not None:
            return Tower(file, OPEN_CLIP)
    config = _file(work, "config.json")
    if config is not None and is_m_clip(config):
        files = (_file(work, name) for name in M_CLIP_FILES)
        return next((Tower(file, M_CLIP) for file in files if file is not None), None)
    return None


def _file(work: AdoptWork, name: str) -> Path | None:
    """A file of the encoder, downloaded if that is a Hub name; None if there is no such file, or no network."""
    folder = Path(expanded(work.encoder))
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    import huggingface_hub  # slow to load, and folders do not need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with contextlib.suppress(HfHubHTTPError, HFValidationError, OSError):
        return Path(huggingface_hub.hf_hub_download(work.encoder, name, revision=work.revision))
    return None


def _require_same_ids(work: AdoptWork, start: str, revision: str | None, *, alone: bool) -> None:
    """Raise UsageError if the tokenizer is not that of `start`. A tower (`alone`) without a tokenizer.json is taken to
    have been trained with that one."""
    tokenizer, path = load_tokenizer(start, revision), _file(work, "tokenizer.json")
    if path is not None:
        largest_id(path)  # raises if it cannot be read
        same = agrees(tokenizer, path)
    else:
        same = alone or probed(tokenizer) == probed(load_tokenizer(expanded(work.encoder), work.revision))
    if not same:
        raise UsageError(
            f"the tokenizer of '{work.encoder}' gives different ids from that of '{start}', with which its arm is"
            " compared",
            fix="name an encoder that was trained from the recipe's, or put it into a recipe of its own",
        )
