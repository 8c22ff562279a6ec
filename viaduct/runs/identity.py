"""What makes two runs of a stage the same: literals, code and card versions, inputs, data and the ready-made encoder.

Device, threads, paths, file names and the words of a substitution's reason are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from viaduct.errors import StoreError, UsageError
from viaduct.results.store import Store
from viaduct.runs.encoder import encoder_identity
from viaduct.runs.field import fields
from viaduct.runs.plan import Plan
from viaduct.runs.rows import Need, RecipeData, source_of
from viaduct.runs.stage import Stage, kind_of


@dataclass(frozen=True)
class Identity:
    """Everything that decides a stage's output, as JSON, and its SHA-256."""

    content: Mapping[str, Any]
    fingerprint: str


def identities(plan: Plan, data: RecipeData) -> dict[str, Identity]:
    """Stage path -> identity, for every stage of the plan. Reads every data file once."""
    found: dict[str, Identity] = {}
    encoders: dict[str, dict[str, Any]] = {}
    for stage in plan.stages:
        if stage.encoder is not None and stage.encoder not in encoders:
            encoders[stage.encoder] = encoder_identity(stage.encoder, stage.revision)
        upstream = {role: found[source.path].fingerprint for role, source in sorted(stage.inputs.items())}
        encoder = None if stage.encoder is None else encoders[stage.encoder]
        found[stage.path] = identity(stage, plan.needs[stage.path], data, upstream=upstream, encoder=encoder)
    return found


def identity(
    stage: Stage,
    needs: Iterable[Need],
    data: RecipeData,
    *,
    upstream: Mapping[str, str],
    encoder: Mapping[str, Any] | None,
) -> Identity:
    """The identity of one stage whose inputs have the fingerprints `upstream` (role -> fingerprint)."""
    needs, substitutions = tuple(needs), stage.work.declared
    named = {name for need in needs for name in (need[0], source_of(need[0], need[1], substitutions)[0])}
    cards = named | {part.name for name in named for part in data.task(name).parts}
    content = {
        "kind": stage.work.kind,
        "code": kind_of(stage.work.kind).version,
        "cards": {name: data.task(name).version for name in sorted(cards)},
        "work": literals(stage.work),
        "encoder": encoder,
        "inputs": dict(upstream),
        "data": data.fingerprint(needs, substitutions),
    }
    for field in fields():
        added = field.identity(stage.work)
        if taken := added.keys() & content.keys():
            raise UsageError(
                f"the field '{field.name}' adds '{min(taken)}' to an identity that has it", fix="rename it"
            )
        content.update(added)
    return Identity(content, fingerprint_of(content))


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an identity."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def literals(work: BaseModel) -> dict[str, Any]:
    """The work as JSON without what is no part of its identity: words for people (rewording a substitution's reason
    changes no number), and fields that came `later` while they have the value that held before."""
    found = work.model_dump(mode="json")
    for name, info in type(work).model_fields.items():
        value, marks = getattr(work, name), info.json_schema_extra
        marks = marks if isinstance(marks, dict) else {}
        if "wording" in marks or ("later" in marks and value == info.default):
            del found[name]
        else:
            found[name] = _literals_within(value, found[name])
    return found


def _literals_within(value: object, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return literals(value)
    if isinstance(value, tuple):
        return [_literals_within(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def is_done(store: Store, stage: Stage, identity: Identity) -> bool:
    """Whether the stage is finished. Raises StoreError when its directory holds results of something else."""
    record = store.record(stage.path)
    if record is None:
        return False
    if record.get("fingerprint") != identity.fingerprint:
        fields = difference(record.get("identity", {}), identity.content)
        directory = store.directory(stage.path)
        raise StoreError(
            f"{directory} holds the results of another experiment; what differs (there -> here):\n    "
            + "\n    ".join(fields or ("the way the fingerprint is computed",)),
            fix="use another --store, or rename the encoder or the arm in the recipe, or restore the recipe as it was,"
            f" or remove the directory (rm -r '{directory}') to compute it anew",
        )
    return True


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
