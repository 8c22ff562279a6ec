"""What is wrong with an encoder's folder, as far as its files tell without being loaded: found before anything runs.

Weights are not read, only the headers of safetensors. What only loading them tells (numbers that are none, weights that
are missing or of another size) is found by `models.trial.require_encoder`, before the first stage.
"""

from __future__ import annotations

import importlib.util
import json
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import TypeAdapter

from viaduct.doors import loaded
from viaduct.errors import UsageError
from viaduct.runs.census import Census, Memory
from viaduct.runs.encoder import cached_file, encoder_identity, safetensors_header
from viaduct.runs.families import CHANGED, ENCODER_SIDES, FIX, REFUSED, size
from viaduct.runs.plan import Plan
from viaduct.tasks.hashes import Stamp, file_sha256, stamp

TOKENIZER_FILE = "tokenizer.json"
READER = "viaduct.models.tokenizer_file"
"""What reads it; it needs a library that planning is not to wait for."""

OTHER_TOKENIZERS = ("vocab.txt", "vocab.json", "bpe.codes", "tokenizer.model", "spm.model", "spiece.model")
"""Files of tokenizers without a tokenizer.json, with every other `*.model`."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which transformers looks for them."""

WORD_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "shared.weight")
"""How the names of an encoder's word embeddings end."""

POINTER = b"version https://git-lfs"
LEGACY_STREAMS = 4
"""What comes before the values in the form of torch.save before version 1.6: a number, a version, sizes, names."""
PLAIN_OBJECTS = ("torch", "collections", "_codecs", "numpy", "builtins")
"""Modules whose names stand in a file of nothing but weights."""

DOWNLOAD = "download it again"

SAMPLED = 200
"""Rows of each language whose unknown pieces are counted."""
REMARKABLE = 0.01
ABSURD = 0.5
"""Shares of unknown pieces: what is remarked on in a language, and what is refused in the mean over languages."""


def require_folder(folder: Path) -> None:
    """Raise UsageError, naming the file, for an encoder's folder that cannot be what its makers meant."""
    config = read_config(folder / "config.json")
    shapes = _shapes(folder)
    rows = next(
        (shape[0] for name, shape in shapes.items() if name.endswith(WORD_EMBEDDINGS) and len(shape) == 2), None
    )
    said = size(config, "vocabulary")
    _require_tokenizer(folder, rows or said)
    if rows is not None and said is not None and rows != said:
        raise UsageError(
            f"{folder / 'config.json'} says vocab_size {said:,}, and the weights beside it have {rows:,} rows for it",
            fix="put the config.json and the weights of one model into the folder",
        )


def read_config(path: Path) -> Mapping[str, Any]:
    """A model's config.json. Raises UsageError where it is not there, damaged, or of no encoder."""
    if not path.is_file():
        raise UsageError(f"{path.parent} has no config.json", fix="name a folder that AutoModel.from_pretrained opens")
    _require_content(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", fix=DOWNLOAD) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not a JSON object", fix=DOWNLOAD)
    kind = found.get("model_type")
    why = REFUSED.get(str(kind))
    if why is None and found.get("is_encoder_decoder") and kind not in ENCODER_SIDES:
        why = "has an encoder and a decoder that cannot be parted here"
    if why is not None:
        raise UsageError(
            f"{path}: a model of type '{kind}' {why}, so it is not supported",
            fix=FIX,
        )
    if size(found, "width") is None or size(found, "layers") is None:
        raise UsageError(
            f"{path} does not say how wide and deep the encoder is, by any of the names that transformers reads",
            fix="name a folder that transformers opens without code of its makers",
        )
    return found


def _require_content(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise UsageError(
                f"{path} is a Git LFS pointer, not the file itself", fix="run `git lfs pull` where it was cloned"
            )


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Name -> shape of the weights, from safetensors; {} for others. Raises UsageError for weights that are not there,
    cut off, or more than weights."""
    first = weights_file(folder)
    if first is None:
        raise UsageError(f"{folder} has no weights", fix="put model.safetensors (or pytorch_model.bin) into it")
    _require_content(first)
    found: dict[str, list[int]] = {}
    for path in _parts(first):
        if not path.is_file():
            raise UsageError(f"{path} is not there, and {first.name} names it", fix=DOWNLOAD)
        _require_content(path)
        if path.suffix == ".safetensors":
            header = safetensors_header(path)
            found |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        else:
            require_only_weights(path)
    return found


def weights_file(folder: Path) -> Path | None:
    """The weights, or the index of their parts; None where there are none."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _parts(first: Path) -> Iterable[Path]:
    if first.suffix != ".json":
        return [first]
    try:
        names = json.loads(first.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{first} is no index of weights", fix=DOWNLOAD) from error
    return [first.parent / name for name in dict.fromkeys(names)]


def require_only_weights(path: Path) -> None:
    """Raise UsageError for a pytorch_model.bin that is cut off, or holds what is no weight; nothing of it is run."""
    try:
        named = list(_named(path))
    except (zipfile.BadZipFile, StopIteration, ValueError) as error:
        raise UsageError(f"{path} is cut off, or no file of weights", fix=DOWNLOAD) from error
    strange = next((one for one in named if one.partition(".")[0] not in PLAIN_OBJECTS), None)
    if strange is not None:
        raise UsageError(
            f"{path} holds other objects than weights ({strange}), which may run code when opened",
            fix="take the model's model.safetensors, or save its state_dict alone",
        )


def _named(path: Path) -> Iterable[str]:
    """What a file of torch.save would look up when opened, as "module.name"."""
    streams = list(range(LEGACY_STREAMS))
    with path.open("rb") as file:
        source: IO[bytes] = file
        if file.read(2) == b"PK":
            archive = zipfile.ZipFile(path)
            source, streams = archive.open(next(one for one in archive.namelist() if one.endswith("data.pkl"))), [0]
        else:
            file.seek(0)
        strings: list[str] = []
        for _ in streams:
            for operation, value, _ in pickletools.genops(source):
                if isinstance(value, str):
                    strings.append(value)
                if operation.name == "GLOBAL":
                    yield strings[-1].replace(" ", ".")
                elif operation.name == "STACK_GLOBAL":
                    yield ".".join(strings[-2:])


def _require_tokenizer(folder: Path, rows: int | None) -> None:
    path = folder / TOKENIZER_FILE
    if path.is_file():
        _require_content(path)
        loaded(f"{READER}:require_readable")(path, rows)
        return
    others = [*(folder / name for name in OTHER_TOKENIZERS if (folder / name).is_file()), *folder.glob("*.model")]
    if not others:
        raise UsageError(
            f"{folder} has no tokenizer: no {TOKENIZER_FILE}, {', '.join(OTHER_TOKENIZERS)}",
            fix="put the tokenizer's files beside the weights",
        )
    for other in others:
        _require_content(other)
    if all(other.suffix == ".model" for other in others) and importlib.util.find_spec("sentencepiece") is None:
        raise UsageError(
            f"{others[0]} is the folder's only tokenizer, and reading it takes the package sentencepiece",
            fix=f"pip install sentencepiece, or put the model's {TOKENIZER_FILE} beside it",
        )


def start_identity(encoder: str, revision: str | None, cache: Path | None = None) -> dict[str, Any]:
    """What identifies the encoder that stages begin with: its files, and that its tokenizer is the file's where
    transformers would make another one of it, as it did in stages of before. Others stay what they were.

    `cache`: the folder where it is remembered. For a Hub name, a tokenizer that is not its file's is refused when it is
    loaded.
    """
    folder = Path(encoder).expanduser()
    found = {**encoder_identity(encoder, revision), **_changed(encoder)}
    path = folder / TOKENIZER_FILE
    if not path.is_file() or _said(folder / "tokenizer_config.json", "tokenizer_class") in loaded(f"{READER}:GENERIC"):
        return found
    settings = [
        file_sha256(one) for one in sorted(folder.glob("*.json")) if "token" in one.name or one.name == "config.json"
    ]
    memory = Memory(cache and cache / "tokenizers.json", TypeAdapter(str))
    key = " ".join((version("transformers"), *settings))
    if key not in memory.known:
        memory.known[key] = _against_transformers(folder, stamp(path))
        memory.save()
    return {**found, "tokenizer": "as its file has it"} if memory.known[key] == "other ids" else found


def _changed(encoder: str) -> dict[str, str]:
    """What results with this encoder rest on since they changed; a Hub name tells its family, as its files may not be
    here yet."""
    family = _said(Path(encoder).expanduser() / "config.json", "model_type")
    family = family or encoder.rpartition("/")[2].lower().replace("-xxl", "-xl")
    return {"read": CHANGED[family]} if family in CHANGED else {}


def _said(path: Path, key: str) -> str | None:
    """A text in a JSON file; None where it is not there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


@lru_cache(maxsize=64)
def _against_transformers(folder: Path, _stamp: Stamp) -> str:
    """What transformers makes of the folder's tokenizer ("" where nothing), from another process: finding it out loads
    torch, and a process that has loaded it cannot be copied."""
    command = [sys.executable, "-m", READER, str(folder.resolve())]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603  our own module


class Unknown(NamedTuple):
    """How much of the texts an encoder's tokenizer does not know."""

    file: Path
    shares: Mapping[str, float]
    """Language -> unknown pieces among all pieces of some of the rows that are evaluated."""

    @property
    def words(self) -> str:
        """All languages with any, the worst first."""
        some = sorted(((share, code) for code, share in self.shares.items() if share), reverse=True)
        return ", ".join(f"{code} {share:.1%}" for share, code in some) or "none"

    def require(self) -> None:
        """Raise UsageError where the tokenizer cannot be meant for these texts."""
        mean = sum(self.shares.values()) / max(1, len(self.shares))
        if mean > ABSURD:
            raise UsageError(
                f"{self.file}: {mean:.0%} of the pieces of the texts are unknown to this tokenizer ({self.words})",
                fix="use the model's own tokenizer, or say allow_unknown=true in the recipe (--set allow_unknown=true)",
            )

    def remark(self) -> tuple[str, ...]:
        """A sentence where some language has many."""
        most = [code for code, share in self.shares.items() if share > REMARKABLE]
        if not most:
            return ()
        return (
            f"the tokenizer does not know more than {REMARKABLE:.0%} of the pieces in {len(most)} of"
            f" {len(self.shares)} languages (unknown: {self.words}), so what these say is lost on the encoder",
        )


def unknown_pieces(plan: Plan, census: Census, cache: Path | None) -> Unknown | None:
    """Of the first rows that are evaluated in each language; None where the encoder has no tokenizer.json here (yet),
    or data are missing."""
    encoder = plan.recipe.encoder
    path = cached_file(encoder, plan.recipe.revision, TOKENIZER_FILE) if isinstance(encoder, str) else None
    if path is None or not path.is_file() or plan.missing:
        return None
    memory, data = Memory(cache and cache / "unknown_pieces.json", TypeAdapter(float)), census.data
    shares: dict[str, float] = {}
    for stage in plan.stages:
        for task, split, code in plan.needs[stage.path] if stage.work.kind == "score" else ():
            if code not in shares:
                digests = data.fingerprint([(task, split, code)], stage.work.declared)
                key = f"{file_sha256(path)} {SAMPLED} {task} {split} {code} {' '.join(digests.values())}"
                if key not in memory.known:
                    rows = data.load(task, split, code, stage.work.declared).rows[:SAMPLED]
                    texts = [text for row in rows for text in row.texts]
                    memory.known[key] = loaded(f"{READER}:unknown_share")(path, texts)
                shares[code] = memory.known[key]
    memory.save()
    return Unknown(path, shares)
