"""What makes two runs of a stage the same: literals, code and card versions, inputs, data and the ready-made encoder.

Device, threads, paths, file names and the words of a substitution's reason are not part of it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from viaduct.errors import StoreError, UsageError, ViaductError
from viaduct.languages import is_language
from viaduct.paths import planning_cache
from viaduct.results.store import State, Store
from viaduct.runs.encoder_check import start_identity
from viaduct.runs.field import fields
from viaduct.runs.parts import Substitution
from viaduct.runs.plan import Plan
from viaduct.runs.rows import Need, RecipeData, source_of
from viaduct.runs.stage import Stage, kind_of
from viaduct.runs.words import version_of
from viaduct.tasks.card import Task
from viaduct.tasks.used_files import Folders

Standing = State | Literal["there, not checked", "another experiment's"]
"""State of a stage with one identity. Not checked: it is finished, but data that decide its identity are missing."""


@dataclass(frozen=True)
class Identity:
    """Everything that determines a stage's output, as JSON, and its SHA-256."""

    content: Mapping[str, Any]
    """The JSON, without parts that are missing, such as data."""
    fingerprint: str
    """"" if something is missing."""


def identities(plan: Plan, data: RecipeData, store: Store | None = None) -> dict[str, Identity]:
    """Stage path -> identity, for every stage of the plan. Reads every data file once.

    If the plan misses data, identities hold what is known. Stages that depend on a stage in `store` that cannot be
    checked cannot be checked either.
    """
    found: dict[str, Identity] = {}
    encoders: dict[str, Mapping[str, Any]] = {}
    seen = Folders()
    known = _in_part if plan.missing else _in_full
    cache = None if store is None else planning_cache(store.root)
    read = functools.cache(lambda need, declared: known(lambda: data.fingerprint((need,), declared, seen)))
    for stage in plan.stages:
        if stage.encoder is not None and stage.encoder not in encoders:
            encoders[stage.encoder] = (
                known(functools.partial(start_identity, stage.encoder, stage.revision, cache)) or {}
            )
        upstream = {role: found[source.path].fingerprint for role, source in sorted(stage.inputs.items())}
        encoder = None if stage.encoder is None else encoders[stage.encoder]
        needs = plan.needs[stage.path]
        digests = [read(need, stage.work.declared) for need in needs]
        cards = _cards(needs, data, stage.work.declared)
        one = identity(stage, cards, digests, upstream=upstream, encoder=encoder, known=known)
        if plan.missing and store is not None:
            unchecked = standing(store, stage.path, one.fingerprint, one.content) == "there, not checked"
            one = replace(one, fingerprint="") if unchecked else one
        found[stage.path] = one
    return found


def changed(
    stage: Stage, planned: Identity, data: RecipeData, needs: Sequence[Need], cache: Path | None
) -> tuple[str, ...]:
    """The fields of a stage's identity that have changed since it was planned, because files that it reads, or that
    its work names, have changed. Files with a new stamp (size, times, inode) are hashed again."""
    encoder = None if stage.encoder is None else start_identity(stage.encoder, stage.revision, cache)
    digests = [data.fingerprint((need,), stage.work.declared) for need in needs]
    cards, upstream = _cards(needs, data, stage.work.declared), planned.content["inputs"]
    now = identity(stage, cards, digests, upstream=upstream, encoder=encoder)
    return difference(planned.content, now.content)


Made = Callable[[], Mapping[str, Any]]


def _in_full(make: Made) -> Mapping[str, Any] | None:
    return make()


def _in_part(make: Made) -> Mapping[str, Any] | None:
    """The value; None if it cannot be made because something is missing."""
    with contextlib.suppress(ViaductError):
        return make()
    return None


def identity(
    stage: Stage,
    cards: Sequence[Task],
    digests: Sequence[Mapping[str, Any] | None],
    *,
    upstream: Mapping[str, str],
    encoder: Mapping[str, Any] | None,
    known: Callable[[Made], Mapping[str, Any] | None] = _in_full,
) -> Identity:
    """The identity of one stage that reads rows of these cards, whose data have the fingerprints `digests` (None:
    unknown), and whose inputs have the fingerprints `upstream` (role -> fingerprint, "": unknown); `encoder` is {} if
    it is unknown."""
    complete = all(upstream.values()) and None not in digests and encoder != {}
    kinds = {card.kind: version for card in cards if (version := version_of(card.row_kind, stage)) > 1}
    content = {
        "kind": stage.work.kind,
        "code": kind_of(stage.work.kind).version,
        "cards": {card.name: card.version for card in cards},
        "work": literals(stage.work),
        "encoder": encoder,
        "inputs": {role: fingerprint for role, fingerprint in upstream.items() if fingerprint},
        "data": {name: digest for one in digests if one for name, digest in one.items()},
    }
    if kinds:
        content["kinds"] = kinds
    own = kind_of(stage.work.kind)
    by_field = [(f"field '{field.name}'", field.identity) for field in fields()]
    for what, add in ((f"kind of stage '{own.name}'", own.identity), *by_field):
        added = known(functools.partial(add, stage.work))
        if added is None:
            complete = False
            continue
        if taken := added.keys() & content.keys():
            raise UsageError(f"the {what} adds '{min(taken)}' to an identity that already has it", fix="rename it")
        content.update(added)
    return Identity(content, fingerprint_of(content) if complete else "")


def _cards(needs: Iterable[Need], data: RecipeData, substitutions: tuple[Substitution, ...]) -> list[Task]:
    """The cards whose rows are read, and those that they are made of, in order of name."""
    named = {name for need in needs for name in (need[0], source_of(need[0], need[1], substitutions)[0])}
    named |= {part.name for name in named for part in data.task(name).parts}
    return [data.task(name) for name in sorted(named)]


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an identity."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def literals(work: BaseModel) -> dict[str, Any]:
    """The work as JSON without what is not part of its identity: text for people (rewording a substitution's reason
    changes no number), and fields added `later` while they have the value that held before."""
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


def standing(store: Store, path: str, fingerprint: str, known: Mapping[str, Any] | None = None) -> Standing:
    """The state of the stage with this identity; `known`: the identity's content, in a plan that misses data, whose
    fingerprint is unknown ("") or may still change.

    An interrupted attempt at something else does not count: a run discards it.
    """
    state = store.state(path)
    record = store.record(path) if state == "done" else store.unfinished(path)
    if record is None or record.get("fingerprint") == fingerprint:
        return state
    if known is not None and _agrees(known, record.get("identity", {})):
        return "there, not checked" if state == "done" else state
    return "waiting" if state in ("interrupted", "waiting") else "another experiment's"


IN_PART = ("cards", "encoder", "inputs", "data")
"""The parts of an identity that may be known incompletely."""


def _agrees(known: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the known part of an identity agrees with the one that was found."""
    work, other = known["work"], found.get("work", {})
    return (
        all((found.get(part) or {}).items() >= (known[part] or {}).items() for part in IN_PART)
        and all(found.get(part) == value for part, value in known.items() if part not in (*IN_PART, "work"))
        and work.keys() == other.keys()
        and all(value == other[name] or _fewer(value, other[name]) for name, value in work.items())
    )


def _fewer(known: object, found: object) -> bool:
    """Whether these are languages, or (task, language), all among the found ones: those whose files are available."""
    if not isinstance(known, list) or not isinstance(found, list):
        return False
    codes = [one[-1] if isinstance(one, list) and one else one for one in found]
    return all(isinstance(code, str) and is_language(code) for code in codes) and all(one in found for one in known)


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
            fix="use another --store, or rename the encoder or the arm in the recipe, or restore what differs,"
            f" or remove the directory (rm -r '{directory}') to recompute it",
        )
    return True


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields in which two identities differ, one line each: "work.training.epochs: 3.0 -> 1.0"."""
    return tuple(f"{name}: {_shown(was)} -> {_shown(now)}" for name, (was, now) in differing(old, new).items())


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    """The fields in which two identities differ -> (the value in the old one, in the new one)."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    both = {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in sorted({*before, *after})}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _leaves(value: object, name: str = "") -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{index}]")
    else:
        yield name, value


ABSENT = object()


def _shown(value: object) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return json.dumps(value, ensure_ascii=False)
