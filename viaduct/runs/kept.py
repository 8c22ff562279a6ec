"""Which stages of a plan or a run are replaced by committed rows (`viaduct.results.committed`)."""

from __future__ import annotations

from collections.abc import Mapping

from viaduct.results.checksums import cleaned
from viaduct.results.committed import CommittedRows, StoreWithRows
from viaduct.results.store import Store
from viaduct.runs.identity import Identity
from viaduct.runs.plan import Plan


def of_plan(plan: Plan, identities: Mapping[str, Identity], store: Store, rows: CommittedRows) -> StoreWithRows:
    """The store, with stages that need not be run counted as done: their rows are committed, or they were cleaned, and
    no stage that is to be run takes what they would leave."""
    kept: dict[str, str] = {}
    needed: set[str] = set()
    again: set[str] = set()
    for stage in reversed(plan.stages):
        fingerprint = identities[stage.path].fingerprint
        is_needed = stage.path in needed
        if store.has(stage.path, fingerprint):
            if not is_needed or not cleaned(store.directory(stage.path)):
                continue
            again.add(stage.path)
        if fingerprint in rows.stages and not is_needed:
            kept[stage.path] = fingerprint
        else:
            needed.update(source.path for source in stage.inputs.values())
    own = (one.fingerprint for one in identities.values())
    return StoreWithRows(store.root, rows, kept, own, frozenset(again))


def of_stages(fingerprints: Mapping[str, str], store: Store, rows: CommittedRows) -> StoreWithRows:
    """The store, counting as done those of these stages (path -> fingerprint) whose rows are committed."""
    kept = {path: one for path, one in fingerprints.items() if one in rows.stages and not store.has(path, one)}
    return StoreWithRows(store.root, rows, kept, fingerprints.values())


def said_of_rows(store: StoreWithRows) -> tuple[str, ...]:
    """Lines that tell a reader which committed rows were used, and which were not."""
    taken = {one for one in store.kept.values() if store.rows.stages[one].kind == "score"}
    where, lines = store.rows.folder.name, []
    if taken:
        lines.append(
            f"{_counted(len(taken))} taken from the committed rows of {where}, which have their costs but no models, "
            "predictions or training curves"
        )
    if store.foreign:
        what = f"of other settings, seeds or data in the committed rows of {where}"
        lines.append(f"{_counted(store.foreign)} {what}: not used")
    return tuple(lines)


def _counted(scores: int) -> str:
    return f"{scores:,} score{'s are' if scores != 1 else ' is'}"
