"""What can be known about an encoder without loading it: its name, shape, identity, and facts for the report."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.errors import UsageError, absence
from viaduct.hub import commit_of, unreachable
from viaduct.paths import RESERVED
from viaduct.runs.encoder_files import known_json, safetensors_header
from viaduct.runs.families import first_position, size
from viaduct.runs.parts import Pretrain, RecipeParts
from viaduct.tasks.hashes import file_sha256

ENCODER_FILES = (".json", ".safetensors", ".model", ".bin", ".txt")
"""Suffixes of the files in an encoder's folder that determine what it computes."""
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""open_clip's file names for a two-tower model (`src/open_clip/factory.py`), which lacks transformers' config.json."""
NOT_ENCODER_FILES = ("training.json", "trainer_state.json", "generation_config.json", "requirements.txt")


class Shape(NamedTuple):
    """An encoder's sizes."""

    layers: int
    width: int
    feed_forward: int
    vocabulary: int

    @property
    def weights(self) -> int:
        """Number of weights in the layers; embeddings, biases and LayerNorm are not counted."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)

    @property
    def token_flops(self) -> float:
        """FLOPs of one forward pass per token: two per weight. Attention's own products are left out: 3 % in
        XLM-R large at 200 tokens, 7 % in a narrow encoder (width 256) at 100."""
        return 2.0 * self.weights

    @property
    def guess_flops(self) -> float:
        """FLOPs of predicting one masked token over the whole vocabulary."""
        return 2.0 * self.width * self.vocabulary

    @property
    def num_bytes(self) -> int:
        """Size of the weights in float32, embeddings included."""
        return 4 * (self.weights + self.vocabulary * self.width)


KNOWN = {
    "xlm-roberta-base": Shape(12, 768, 3072, 250_002),
    "xlm-roberta-large": Shape(24, 1024, 4096, 250_002),
    "bert-base-multilingual-cased": Shape(12, 768, 3072, 119_547),
}
"""Shapes for planning with encoders that are not downloaded yet, by the last part of their name."""


def encoder_name(recipe: RecipeParts) -> str:
    """The encoder's name in paths and tables; a quick look is marked as such."""
    encoder = recipe.encoder
    name = encoder.name if isinstance(encoder, Pretrain) else plain_name(encoder)
    if isinstance(encoder, str) and not may_be_on_hub(encoder) and not Path(encoder).expanduser().is_dir():
        raise no_folder("encoder", encoder)
    require_name(name)
    return f"{name}{recipe.mark}"


def plain_name(encoder: str) -> str:
    """A folder's own name, or a Hub name with "--" for "/"."""
    folder = Path(encoder).expanduser()
    return folder.resolve().name if folder.is_dir() else encoder.replace("/", "--")


def require_name(name: str) -> None:
    """Raise UsageError for an encoder's name that cannot be a folder name in the store."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) or name in RESERVED:
        raise UsageError(
            f"the encoder's name '{name}' cannot be a folder's name in the store",
            fix=f"use at most 100 letters, digits, '.', '_', '-'; none of: {', '.join(RESERVED)}; rename the folder",
        )


def shape_of(encoder: str | Pretrain, revision: str | None) -> Shape | None:
    """The encoder's shape, from the recipe, its folder, the Hub's local cache or `KNOWN`; None if none of them has it.

    Nothing is downloaded.
    """
    if isinstance(encoder, Pretrain):
        made = encoder.architecture
        return Shape(made.layers, made.hidden, made.feed_forward, made.vocabulary)
    config = known_json(cached_file(encoder, revision, "config.json"))
    sizes = [one for name in Shape._fields if (one := size(config, name)) is not None]
    return Shape(*sizes) if len(sizes) == len(Shape._fields) else KNOWN.get(encoder.rpartition("/")[2].lower())


def longest_of(encoder: str | Pretrain, revision: str | None) -> int | None:
    """The maximum number of tokens that the encoder takes, from the recipe or a local config.json; None if neither
    gives it."""
    if isinstance(encoder, Pretrain):
        return encoder.architecture.max_length
    config = known_json(cached_file(encoder, revision, "config.json"))
    longest, padding = size(config, "positions"), config.get("pad_token_id", 1)
    if longest is None:
        return None
    most = longest - first_position(str(config.get("model_type")), padding if isinstance(padding, int) else -1)
    return most if most > 0 else None  # a padding id that `encoder_check` refuses


def require_overlap(stride: int, max_length: int, where: str) -> None:
    """Raise UsageError for an overlap that windows of this length cannot have: a question must fit in too."""
    if not 0 <= stride <= max_length // 2:
        raise UsageError(
            f"{where}: a stride of {stride:,} tokens in windows of {max_length:,} (an overlap may be half of a window)",
            fix=f"set stride to a number from 0 to {max_length // 2:,}, or allow longer windows (max_length)",
        )


def cached_file(encoder: str, revision: str | None, name: str) -> Path | None:
    """Path of a ready-made encoder's file, in its folder (where it may be missing) or in the Hub's local cache; None if
    the encoder is not a folder and the cache lacks the file."""
    folder = Path(encoder).expanduser()
    if folder.is_dir():
        return folder / name
    if not may_be_on_hub(encoder):
        return None
    import huggingface_hub  # slow to load, and folders do not need it

    found = huggingface_hub.try_to_load_from_cache(encoder, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


SMALL_FILES = ("*.json", "*/config.json", "*_Dense/*")


def fetch_small_files(encoder: str | Pretrain, revision: str | None) -> None:
    """Download the small files that decide how a Hub encoder is used into the Hub's local cache, where planning, which
    downloads nothing, finds them. Does nothing if that is impossible: opening the encoder later reports why."""
    if isinstance(encoder, Pretrain) or revision is None or encoder.rpartition("/")[2].lower() in KNOWN:
        return
    if not may_be_on_hub(encoder) or Path(encoder).expanduser().is_dir() or unreachable():
        return
    import huggingface_hub  # slow to load, and folders do not need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with contextlib.suppress(HfHubHTTPError, HFValidationError, OSError):
        if huggingface_hub.try_to_load_from_cache(encoder, "modules.json", revision=revision) is None:
            huggingface_hub.snapshot_download(encoder, revision=revision, allow_patterns=list(SMALL_FILES))
            huggingface_hub.hf_hub_download(encoder, "modules.json", revision=revision)  # caches that there is none


def hub_options(encoder: str, revision: str | None) -> dict[str, Any]:
    """Arguments for a library that opens an encoder: its revision, and only the Hub's local cache if the Hub cannot be
    reached. Raises UsageError if the encoder is not there either."""
    if Path(encoder).is_dir():
        return {"revision": revision}
    problem, is_here = unreachable(), cached_file(encoder, revision, "config.json") is not None
    if not problem and not is_here:
        commit_of(encoder, revision)  # reports what a private or gated repository requires
    if problem and not is_here:
        raise UsageError(
            f"'{encoder}' is not a folder here, it is not in the Hub's local cache at {revision}, and {problem}",
            fix="check the name, the revision and the network, or name a folder",
        )
    return {"revision": revision, "local_files_only": problem is not None}


def folder_of(model: str) -> Path:
    """The folder of a model: the path itself, or for "owner/name@commit" its folder in the Hub's local cache,
    downloaded if missing. Raises UsageError for a folder that does not exist, and for a name without its commit."""
    folder = Path(model).expanduser()
    name, _, commit = model.partition("@")
    if folder.is_dir():
        return folder
    if model.startswith((".", "/", "~")) or name.count("/") != 1:
        fix = (
            "name a `train` folder of the store, an encoder's folder, or a Hub name with its commit, owner/name@commit"
        )
        raise UsageError(f"the folder {model} {absence(folder)}", fix=fix)
    if not commit:
        fix = f"write {name}@<commit> (shown at https://huggingface.co/{name}/commits/main), or name a folder"
        raise UsageError(
            f"'{name}' is not a folder here but a Hub name without a commit, whose weights may change", fix=fix
        )
    import huggingface_hub  # slow to load, and folders do not need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [f"*{suffix}" for suffix in ENCODER_FILES if suffix != ".bin"]
    try:
        found = huggingface_hub.snapshot_download(name, **hub_options(name, commit), allow_patterns=wanted)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        fix = "check the name, the commit and the network, or name a folder"
        raise UsageError(f"'{name}' at {commit} cannot be downloaded: {str(error).splitlines()[0]}", fix=fix) from error
    return Path(found)


def expanded(encoder: str) -> str:
    """A folder with "~" expanded; a Hub name unchanged."""
    folder = Path(encoder).expanduser()
    return str(folder) if folder.is_dir() else encoder


def is_open_clip(folder: Path) -> bool:
    """Whether a folder holds a model saved by open_clip."""
    return any((folder / name).is_file() for name in OPEN_CLIP_FILES)


def is_m_clip(config: Path) -> bool:
    """Whether a config.json belongs to an encoder saved by M-CLIP."""
    about = known_json(config)
    kinds = (about.get("model_type"), *(about.get("architectures") or ()))
    return "M-CLIP" in kinds or "MultilingualCLIP" in kinds


def is_tower(folder: Path) -> bool:
    """Whether a folder holds a model that only the `adopt` stage opens."""
    return is_open_clip(folder) or is_m_clip(folder / "config.json")


def encoder_identity(encoder: str, revision: str | None) -> dict[str, Any]:
    """What identifies a ready-made encoder: the hashes of a folder's files, or a Hub name at a revision.

    Raises UsageError for a folder that holds no encoder and for a Hub name without a revision.
    """
    folder = Path(encoder).expanduser()
    if folder.is_dir():
        files = sorted(
            path for path in folder.iterdir() if path.suffix in ENCODER_FILES and path.name not in NOT_ENCODER_FILES
        )
        if not is_open_clip(folder) and not any(path.name == "config.json" for path in files):
            raise UsageError(f"{folder} has no config.json", fix="name a folder that AutoModel.from_pretrained opens")
        return {path.name: file_sha256(path) for path in files}
    if revision is None or not may_be_on_hub(encoder):
        raise no_folder("encoder", encoder)
    return {"hub": encoder, "revision": revision}


def may_be_on_hub(name: str) -> bool:
    """Whether a name that is not a folder can be a model on the Hub: OWNER/NAME, or NAME alone."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1


def no_folder(what: str, name: str) -> UsageError:
    """The error for a model that is neither a folder nor a Hub name with a revision."""
    fix = "correct it; in a recipe, paths are relative to the recipe's file"
    if may_be_on_hub(name):
        where = f"shown at https://huggingface.co/{name}/commits/main"
        fix += f"; a model of the Hub needs a revision (a commit, {where}), because a name's weights may change"
    return UsageError(f"the {what}'s folder {name} {absence(Path(name))}", fix=fix)


def encoder_details(recipe: RecipeParts, pretrained: Path) -> dict[str, str]:
    """Facts about the recipe's encoder from its own files, as far as they are local; `pretrained`: the directory of the
    stage that makes the encoder, if the recipe makes it."""
    encoder = recipe.encoder
    if isinstance(encoder, Pretrain):
        folder = pretrained / "encoder"
        facts = {"made by": "this recipe", "text": ", ".join((*encoder.text, *encoder.parallel))}
    else:
        folder = Path(encoder).expanduser()
        facts = {"name": encoder}
        if recipe.revision is not None:
            facts["revision"] = recipe.revision
    config = known_json(folder / "config.json")
    sizes = {name: size(config, name) for name in ("layers", "width", "vocabulary")}
    facts |= {name: f"{found:,}" for name, found in sizes.items() if found is not None}
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if weights:
        facts["parameters"] = f"{sum(count_parameters(path) for path in weights):,}"
    return facts


def count_parameters(path: Path) -> int:
    """Number of values in a safetensors file, from its header alone."""
    header = safetensors_header(path)
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
