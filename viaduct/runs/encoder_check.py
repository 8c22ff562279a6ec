"""Finds what is wrong with an encoder's folder before anything runs, from its files without loading them.

Weights are not read, only the headers of safetensors. What only loading shows (non-finite numbers, weights that are
missing or of another size) is found by `models.trial.require_encoder`, before the first stage.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from viaduct.doors import loaded
from viaduct.errors import UsageError
from viaduct.runs.census import Census, Memory
from viaduct.runs.encoder import cached_file, encoder_identity
from viaduct.runs.encoder_files import DOWNLOAD, Shapes, folder_shapes, known_json, read_json, require_content
from viaduct.runs.families import CHANGED, ENCODER_SIDES, FIX, REFUSED, SIZES, encoder_side, size
from viaduct.runs.parts import Pretrain
from viaduct.runs.plan import Plan
from viaduct.tasks.hashes import Stamp, file_sha256, stamp

TOKENIZER_FILE = "tokenizer.json"
READER = "viaduct.models.tokenizer_file"
"""The module that reads it; it needs a library that planning should not wait for."""
SAME = "the same ids"

OTHER_TOKENIZERS = ("vocab.txt", "vocab.json", "bpe.codes", "tokenizer.model", "spm.model", "spiece.model")
"""Files of tokenizers without a tokenizer.json; every other `*.model` counts too."""

TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

WORD_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "shared.weight")
"""Endings of the names of an encoder's word embeddings."""
LAYER = re.compile(r"\b(?:layers?|block|h)\.(\d+)\.")
"""Finds a layer's number in the name of one of its weights."""

SAMPLED = 200
"""Rows per language whose unknown pieces are counted."""
REMARKABLE = 0.01
ABSURD = 0.5
"""Shares of unknown pieces: above the first a language gets a remark, above the second the mean over all is refused."""


def require_folder(folder: Path, cache: Path | None = None) -> None:
    """Raise UsageError, naming the file, for an encoder's folder that cannot be what its authors meant; `cache`: the
    folder that keeps the largest ids of tokenizer files that could be read."""
    path = folder / "config.json"
    config = read_config(path)
    for settings in TOKENIZER_SETTINGS:
        if (folder / settings).is_file():
            read_json(folder / settings, dict)
    shapes = folder_shapes(folder)
    rows = next(
        (shape[0] for name, shape in shapes.items() if name.endswith(WORD_EMBEDDINGS) and len(shape) == 2), None
    )
    _require_tokenizer(folder, rows or size(config, "vocabulary"), cache)
    for name, found in (("vocabulary", rows), *_in_weights(config, shapes)):
        said = size(config, name)
        if None not in (said, found) and said != found:
            key = next(key for key in SIZES[name] if key in encoder_side(config))
            raise UsageError(
                f"{path} says {key} {said:,}, but the weights next to it have {found:,}",
                fix="put the config.json and the weights of one model into the folder",
            )


def _in_weights(config: Mapping[str, Any], shapes: Shapes) -> Iterable[tuple[str, int]]:
    """(size, its value in the headers of the weights), as far as they show it; layers and width only if no part of the
    weights agrees with the configuration."""
    stacks: dict[str, int] = {}
    norms: list[int] = []
    for name, shape in shapes.items():
        if found := LAYER.search(name):
            stacks[name[: found.start()]] = max(int(found[1]) + 1, stacks.get(name[: found.start()], 0))
            norms += shape[:1] if name.lower().endswith("norm.weight") else ()
        elif name.endswith(".position_embeddings.weight"):
            yield "positions", shape[0]
    for size_name, sizes in (("layers", [*stacks.values()]), ("width", norms)):
        if sizes and size(config, size_name) not in sizes:
            yield size_name, max(sizes)


def read_config(path: Path) -> Mapping[str, Any]:
    """A model's config.json. Raises UsageError if it is missing, damaged, or not of a supported encoder."""
    if not path.is_file():
        raise UsageError(f"{path.parent} has no config.json", fix="name a folder that AutoModel.from_pretrained opens")
    found = read_json(path, dict)
    side = encoder_side(found)
    for name in (*SIZES["layers"], *SIZES["width"], "vocab_size", "num_attention_heads"):
        value = side.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UsageError(f"{path} says {name} {value!r}, which is not a size", fix=DOWNLOAD)
    padding, words = side.get("pad_token_id"), size(found, "vocabulary")
    if padding is not None and (not isinstance(padding, int) or (words is not None and padding >= words)):
        pieces = "a piece" if words is None else f"one of the {words:,} pieces"
        raise UsageError(f"{path} says pad_token_id {padding!r}, which is not {pieces}", fix=DOWNLOAD)
    kind = found.get("model_type")
    why = REFUSED.get(str(kind))
    if why is None and found.get("is_encoder_decoder") and kind not in ENCODER_SIDES:
        why = "has an encoder and a decoder that cannot be separated here"
    if why is not None:
        raise UsageError(
            f"{path}: a model of type '{kind}' {why}, so it is not supported",
            fix=FIX,
        )
    if size(found, "width") is None or size(found, "layers") is None:
        raise UsageError(
            f"{path} does not say how wide and deep the encoder is, under any of the names that transformers reads",
            fix="name a folder that transformers opens without its authors' code",
        )
    return found


def _require_tokenizer(folder: Path, rows: int | None, cache: Path | None) -> None:
    path = folder / TOKENIZER_FILE
    if path.is_file():
        require_content(path)
        largest = _largest_id(path, cache)
        if rows is not None and largest >= rows:
            raise UsageError(
                f"{path} has ids up to {largest:,}, but the encoder has word embeddings for {rows:,}",
                fix="put the tokenizer and the weights of one model into the folder",
            )
        return
    others = [*(folder / name for name in OTHER_TOKENIZERS if (folder / name).is_file()), *folder.glob("*.model")]
    if not others:
        raise UsageError(
            f"{folder} has no tokenizer: no {TOKENIZER_FILE}, {', '.join(OTHER_TOKENIZERS)}",
            fix="put the tokenizer's files next to the weights",
        )
    for other in others:
        require_content(other)
    if all(other.suffix == ".model" for other in others) and importlib.util.find_spec("sentencepiece") is None:
        raise UsageError(
            f"{others[0]} is the folder's only tokenizer, and reading it requires the package sentencepiece",
            fix=f"pip install sentencepiece, or put the model's {TOKENIZER_FILE} next to it",
        )


def _largest_id(path: Path, cache: Path | None) -> int:
    """The tokenizer's largest id, cached because opening a large tokenizer takes a second."""
    memory = Memory(cache and cache / "largest_ids.json", TypeAdapter(int))
    key = f"{version('tokenizers')} {file_sha256(path)}"
    if key not in memory.known:
        memory.known[key] = loaded(f"{READER}:largest_id")(path)
        memory.save()
    return memory.known[key]


def said_of_code(encoder: str | Pretrain, revision: str | None) -> tuple[str, ...]:
    """A sentence if the model comes with its authors' own code, which is not run."""
    path = cached_file(encoder, revision, "config.json") if isinstance(encoder, str) else None
    config = read_json(path, dict) if path is not None and path.is_file() else {}
    code = config.get("auto_map")
    if not isinstance(code, dict) or "AutoModel" not in code:
        return ()
    return (
        f"{path} names its authors' own code ({code['AutoModel']}), which is not run: transformers' own"
        f" '{config.get('model_type')}' is, which may compute something else",
    )


def start_identity(encoder: str, revision: str | None, cache: Path | None = None) -> dict[str, Any]:
    """What identifies the encoder that stages start from: its files, and a note that its tokenizer is as its file has
    it if transformers would make a different one, as it did in earlier stages. Other encoders keep their identities.

    `cache`: the folder that remembers the comparison. For a Hub name, a tokenizer that differs from its file is refused
    when it is loaded.
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
        if not (said := _against_transformers(folder, path, stamp(path))):
            return found  # it cannot be made; opening it reports why
        memory.known[key] = said
        memory.save()
    if memory.known[key] == SAME:
        return found
    if memory.known[key].startswith("{"):
        loaded(f"{READER}:remember")(path, json.loads(memory.known[key]))
    return {**found, "tokenizer": "as its file has it"}


def _changed(encoder: str) -> dict[str, str]:
    """The marker of a family whose results have changed (`CHANGED`), if it is this encoder's; a Hub name gives the
    family, as its files may not be local yet."""
    family = _said(Path(encoder).expanduser() / "config.json", "model_type")
    family = family or encoder.rpartition("/")[2].lower().replace("-xxl", "-xl")
    return {"read": CHANGED[family]} if family in CHANGED else {}


def _said(path: Path, key: str) -> str | None:
    """A string value in a JSON file; None if it is missing."""
    found = known_json(path).get(key)
    return found if isinstance(found, str) else None


@lru_cache(maxsize=64)
def _against_transformers(folder: Path, path: Path, _stamp: Stamp) -> str:
    """What to remember about the tokenizer that transformers makes from the folder: `SAME` if it has the same ids, ""
    if it makes none. Runs in another process, because a process that has loaded transformers cannot be forked."""
    command, ids = [sys.executable, "-m", READER, str(folder.resolve())], json.dumps(loaded(f"{READER}:expected")(path))
    return subprocess.run(command, input=ids, capture_output=True, text=True, check=False).stdout  # noqa: S603  our own


class Unknown(NamedTuple):
    """How much of the texts is unknown to an encoder's tokenizer."""

    file: Path
    shares: Mapping[str, float]
    """Language -> share of unknown pieces among all pieces of a sample of the evaluated rows."""

    @property
    def words(self) -> str:
        """All languages with unknown pieces, the worst first."""
        some = sorted(((share, code) for code, share in self.shares.items() if share), reverse=True)
        return ", ".join(f"{code} {share:.1%}" for share, code in some) or "none"

    def require(self) -> None:
        """Raise UsageError if the tokenizer cannot be meant for these texts."""
        mean = sum(self.shares.values()) / max(1, len(self.shares))
        if mean > ABSURD:
            raise UsageError(
                f"{self.file}: {mean:.0%} of the pieces of the texts are unknown to this tokenizer ({self.words})",
                fix="use the model's own tokenizer, or set allow_unknown=true in the recipe (--set allow_unknown=true)",
            )

    def remark(self) -> tuple[str, ...]:
        """A sentence if any language has many unknown pieces."""
        most = [code for code, share in self.shares.items() if share > REMARKABLE]
        if not most:
            return ()
        return (
            f"more than {REMARKABLE:.0%} of the pieces are unknown to the tokenizer in {len(most)} of"
            f" {len(self.shares)} languages (unknown: {self.words}), so what these say is lost on the encoder",
        )


def unknown_pieces(plan: Plan, census: Census, cache: Path | None) -> Unknown | None:
    """Unknown pieces in the first evaluated rows of each language; None if the encoder has no local tokenizer.json
    (yet), or data are missing."""
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
