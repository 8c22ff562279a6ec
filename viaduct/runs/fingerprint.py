"""What makes two runs of a stage the same: literals, code and card versions, inputs, data and the ready-made encoder.

Device, threads, paths, file names and the words of a substitution's reason are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.grid import Plan
from viaduct.runs.rows import data_fingerprint, source_of
from viaduct.runs.stage import CODE_VERSION, JointWork, PretrainWork, Stage
from viaduct.tasks.card import file_sha256
from viaduct.tasks.registry import task as card_of

ENCODER_FILES = (".json", ".safetensors", ".model", ".bin", ".txt")
"""Suffixes of the files of an encoder's folder that decide what it computes."""
RAW_PIXELS = "patches"
"""How the names of towers without weights begin."""
LATER = {"engine": "torch", "precision": "fp32", "calibration": []}
"""Fields of works that came later, with what they were before that: such values are not part of an identity."""
NOT_ENCODER_FILES = ("training.json", "trainer_state.json", "generation_config.json", "requirements.txt")


@dataclass(frozen=True)
class Identity:
    """Everything that decides a stage's output, as JSON, and its SHA-256."""

    content: Mapping[str, Any]
    fingerprint: str


def identities(plan: Plan, data: Path) -> dict[str, Identity]:
    """Stage path -> identity, for every stage of the plan. Reads every data file once."""
    found: dict[str, Identity] = {}
    encoders: dict[str, dict[str, Any]] = {}
    for stage in plan.stages:
        if stage.encoder is not None and stage.encoder not in encoders:
            encoders[stage.encoder] = encoder_identity(stage.encoder, stage.revision)
        upstream = {role: found[source.path].fingerprint for role, source in sorted(stage.inputs.items())}
        encoder = None if stage.encoder is None else encoders[stage.encoder]
        found[stage.path] = identity(stage, plan, data, upstream=upstream, encoder=encoder)
    return found


def identity(
    stage: Stage, plan: Plan, data: Path, *, upstream: Mapping[str, str], encoder: Mapping[str, Any] | None
) -> Identity:
    """The identity of one stage whose inputs have the fingerprints `upstream` (role -> fingerprint)."""
    needs = plan.needs[stage.path]
    substitutions = () if isinstance(stage.work, PretrainWork) else stage.work.substitutions
    named = {name for need in needs for name in (need[0], source_of(need[0], need[1], substitutions)[0])}
    cards = named | {part.name for name in named for part in card_of(name).parts}
    content = {
        "kind": stage.work.kind,
        "code": CODE_VERSION[stage.work.kind],
        "cards": {name: card_of(name).version for name in sorted(cards)},
        "work": _literals(stage.work.model_dump(mode="json")),
        "encoder": encoder,
        "inputs": dict(upstream),
        **_tower(stage),
        "data": data_fingerprint(data, needs, substitutions),
    }
    return Identity(content, fingerprint_of(content))


def _tower(stage: Stage) -> dict[str, Any]:
    """What identifies the image tower of a stage that has one with weights."""
    captions = stage.work.captions if isinstance(stage.work, JointWork) else None
    if captions is None or captions.tower.startswith(RAW_PIXELS):
        return {}
    return {"tower": encoder_identity(captions.tower, captions.tower_revision)}


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an identity."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _literals(work: dict[str, Any]) -> dict[str, Any]:
    """The work without the reasons given for its substitutions (rewording one changes no number), and without the
    cards whose rows they leave out where there are none, as it was before that was possible; so with `LATER`."""
    work = {name: value for name, value in work.items() if name not in LATER or value != LATER[name]}
    if "substitutions" not in work:
        return work
    declared = [{k: v for k, v in one.items() if k != "why" and v != []} for one in work["substitutions"]]
    return {**work, "substitutions": declared}


def encoder_identity(encoder: str, revision: str | None) -> dict[str, Any]:
    """What identifies a ready-made encoder: the hashes of a folder's files, or a Hub name at a revision.

    Raises UsageError for a folder that holds no encoder and for a Hub name without a revision.
    """
    folder = Path(encoder).expanduser()
    if folder.is_dir():
        files = sorted(
            path for path in folder.iterdir() if path.suffix in ENCODER_FILES and path.name not in NOT_ENCODER_FILES
        )
        if not any(path.name == "config.json" for path in files):
            raise UsageError(f"{folder} has no config.json", fix="name a folder that AutoModel.from_pretrained opens")
        return {path.name: file_sha256(path) for path in files}
    if encoder.startswith((".", "/", "~")) or encoder.count("/") > 1:
        raise UsageError(f"the encoder's folder {encoder} does not exist", fix="correct `encoder` in the recipe")
    if revision is None:
        raise UsageError(
            f"the encoder '{encoder}' is a Hub name without a revision, and a name's weights may change",
            fix=f'add revision="<commit>" (shown at https://huggingface.co/{encoder}/commits/main), or name a folder',
        )
    return {"hub": encoder, "revision": revision}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields in which two identities differ, one line each: "work.training.epochs: 3.0 -> 1.0"."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return tuple(
        f"{name}: {_shown(before, name)} -> {_shown(after, name)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    )


def _leaves(value: object, name: str = "") -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{index}]")
    else:
        yield name, value


def _shown(fields: Mapping[str, object], name: str) -> str:
    if name not in fields:
        return "absent"
    value = fields[name]
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return json.dumps(value, ensure_ascii=False)
