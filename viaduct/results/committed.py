"""Committed rows: what finished stages left for reports, packed small enough to keep in a repository.

A folder has one or more parts, `<digest>.rows.xz`. A part is self-contained and never rewritten: later results go into
a new one, so parts from several machines can lie side by side. It is an xz stream, whose own checks detect every
damaged byte, of an npz without objects: `about`, JSON with the stages, and outcomes by example as one array
(example, model) for each list of examples. All models' outcomes on one example are adjacent, which compresses best.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from viaduct.errors import StoreError
from viaduct.results.checksums import cleaned
from viaduct.results.outcomes import LanguageOutcomes, form_of, stored
from viaduct.results.record import Record
from viaduct.results.store import Store
from viaduct.results.writing import write_atomic
from viaduct.tasks.opening import require_plain

PARTS = "*.rows.xz"
FORM = 1
"""Version of the file format; bump it with every change to the format."""


class KeptStage(Record):
    """What is kept of a finished stage."""

    kind: str
    fingerprint: str
    inputs: dict[str, str]
    """Role -> fingerprint."""
    cost: dict[str, Any]
    files: dict[str, str]
    """Name -> text, of the files that reports read."""


class KeptOutcomes(Record):
    """Outcomes of models on one list of examples; the names of the arrays of the i-th list start with "i/"."""

    language: str
    ids: str
    chance: float | None
    majority: float | None
    forms: dict[str, str]
    """Name of the values -> "bits" or a NumPy type."""
    models: tuple[str, ...]
    """Fingerprints of the score stages, one per column."""


class _About(Record):
    form: int
    stages: tuple[KeptStage, ...]
    outcomes: tuple[KeptOutcomes, ...]


class _Place(NamedTuple):
    part: Mapping[str, NDArray[Any]]
    about: KeptOutcomes
    number: int
    column: int

    def read(self) -> LanguageOutcomes:
        units = np.cumsum(self.part[f"{self.number}/units"], dtype=np.int32)
        columns = {name: self.part[f"{self.number}/{name}"] for name in self.about.forms}
        values = {
            name: _bits(columns[name], self.column) if form == "bits" else columns[name][:, self.column].copy()
            for name, form in self.about.forms.items()
        }
        return LanguageOutcomes(values, units, self.about.ids, self.about.chance, self.about.majority)


def _bits(packed: NDArray[Any], column: int) -> NDArray[np.float32]:
    bits: NDArray[np.float32] = (packed[:, column // 8] >> (7 - column % 8) & 1).astype(np.float32)
    return bits


class CommittedRows:
    """The parts of a folder; a missing folder has none. If two parts have the same stage, the first one by name counts:
    they may differ in costs, but not in scores. Raises StoreError for a part that is damaged, that is of another
    version, or that contradicts another part."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: None for no committed rows."""
        self.folder = folder or Path()
        self.stages: dict[str, KeptStage] = {}
        """Fingerprint -> stage."""
        self._outcomes: dict[str, dict[str, _Place]] = {}
        self._found_in: dict[str, Path] = {}
        for path in () if folder is None else sorted(folder.glob(PARTS)):
            self._add(path)

    def _add(self, path: Path) -> None:
        try:
            content = unpacked(path)
            if part_name(content) != path.name:
                raise ValueError("its content does not match its name")
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = _About.model_validate_json(bytes(arrays["about"]))
            for number, one in enumerate(about.outcomes):
                _require_shapes(arrays, number, one)
        except (OSError, ValueError, KeyError, TypeError, ValidationError, zipfile.BadZipFile, EOFError) as error:
            raise damaged(path, error) from error
        if about.form != FORM:
            raise StoreError(f"{path} has format {about.form}, but this version reads {FORM}", fix="update viaduct")
        self._require_agreement(path, about.stages)
        known = set(self.stages)
        self.stages = {one.fingerprint: one for one in about.stages} | self.stages
        for number, one in enumerate(about.outcomes):
            for column, model in enumerate(one.models):
                if model not in known:
                    self._outcomes.setdefault(model, {})[one.language] = _Place(arrays, one, number, column)

    def _require_agreement(self, path: Path, stages: Sequence[KeptStage]) -> None:
        for one in stages:
            earlier, where = self.stages.get(one.fingerprint, one), self._found_in.setdefault(one.fingerprint, path)
            if one.kind == "score" and (one.files, one.inputs) != (earlier.files, earlier.inputs):
                raise StoreError(
                    f"{path} and {where.name} have different scores for one stage ({one.fingerprint[:12]}), and nothing"
                    " says which are right",
                    fix="remove the part whose scores should not count",
                )

    def outcomes(self, fingerprint: str) -> Mapping[str, LanguageOutcomes] | None:
        """Language -> outcomes of a score stage; None if it has none."""
        found = self._outcomes.get(fingerprint)
        return None if found is None else {language: place.read() for language, place in found.items()}


def _require_shapes(arrays: Mapping[str, NDArray[Any]], number: int, about: KeptOutcomes) -> None:
    """Raise KeyError or ValueError if the arrays of a list of examples are missing, or their sizes do not match."""
    examples, models = len(arrays[f"{number}/units"]), len(about.models)
    for name, form in about.forms.items():
        wanted = (examples, -(-models // 8) if form == "bits" else models)
        if (found := arrays[f"{number}/{name}"].shape) != wanted:
            raise ValueError(f"{name} of list {number} is {found}, not {wanted}")


NO_ROWS = CommittedRows(None)


class StoreWithRows(Store):
    """A store that treats stages whose rows are committed as done. It has no models and no predictions of theirs."""

    def __init__(
        self,
        root: Path,
        rows: CommittedRows,
        kept: Mapping[str, str],
        own: Iterable[str],
        again: frozenset[str] = frozenset(),
    ) -> None:
        """`kept`: path -> fingerprint of the stages that are taken from the rows, whatever is in the store. `own`: the
        fingerprints of all stages in question; `foreign` counts the scores of other stages in the rows. `again`: paths
        that do not count as done while they are cleaned."""
        super().__init__(root)
        self.again = again
        self.rows, self.kept = rows, dict(kept)
        others = rows.stages.keys() - set(own)
        self.foreign = sum(rows.stages[one].kind == "score" for one in others)

    def record(self, path: str) -> dict[str, Any] | None:
        """See `Store.record`; for a stage from the rows, the inputs are all that is known of its identity."""
        if path in self.again and cleaned(self.directory(path)):
            return None
        if path not in self.kept:
            return super().record(path)
        one = self.rows.stages[self.kept[path]]
        return {"fingerprint": one.fingerprint, "path": path, "identity": {"inputs": one.inputs}}

    def cost(self, path: str) -> dict[str, Any]:
        """The `cost.json` of a finished stage."""
        return {**self.rows.stages[self.kept[path]].cost, "path": path} if path in self.kept else super().cost(path)

    def text(self, path: str, name: str) -> str | None:
        """The content of a text file that a finished stage left; None if it left none, or none that is committed."""
        return self.rows.stages[self.kept[path]].files.get(name) if path in self.kept else super().text(path, name)


def damaged(path: Path, error: Exception) -> StoreError:
    """The error for a damaged file in a folder of rows."""
    return StoreError(
        f"{path} is damaged: {error}", fix=f"restore it (git checkout -- {path}), or remove it and its contents"
    )


def unpacked(path: Path) -> bytes:
    """The content of an xz file. Raises StoreError if it is damaged."""
    try:
        require_plain(path)
        return lzma.decompress(path.read_bytes(), format=lzma.FORMAT_XZ)
    except (lzma.LZMAError, EOFError, OSError) as error:
        raise damaged(path, error) from error


def packed(content: bytes) -> bytes:
    """The content as an xz stream, with its SHA-256."""
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256)


def add_part(
    folder: Path, stages: Sequence[KeptStage], outcomes: Mapping[str, Mapping[str, LanguageOutcomes]]
) -> Path | None:
    """Add a part with these stages and the outcomes of score stages (fingerprint -> language -> outcomes); the same
    input gives the same file. Returns its path, None if there are no stages."""
    if not stages:
        return None
    lists, arrays = _arrays(outcomes)
    about = _About(form=FORM, stages=tuple(stages), outcomes=tuple(lists)).model_dump_json().encode()
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(about, np.uint8), **arrays)  # type: ignore[arg-type]
    content = file.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / part_name(content)
    write_atomic(path, packed(content))
    return path


def part_name(content: bytes) -> str:
    """The file name of a part with this content."""
    return f"{hashlib.sha256(content).hexdigest()[:16]}{PARTS[1:]}"


def _arrays(
    outcomes: Mapping[str, Mapping[str, LanguageOutcomes]],
) -> tuple[list[KeptOutcomes], dict[str, NDArray[Any]]]:
    """Outcomes grouped by list of examples, and their arrays."""
    groups: dict[tuple[str, bytes], list[tuple[str, LanguageOutcomes]]] = {}
    for fingerprint, found in outcomes.items():
        for language, one in found.items():
            forms = {name: form_of(values) for name, values in one.values.items()}
            about = {"ids": one.ids, "chance": one.chance, "majority": one.majority, "forms": forms}
            key = json.dumps({"language": language, **about}), one.units.tobytes()
            groups.setdefault(key, []).append((fingerprint, one))
    lists: list[KeptOutcomes] = []
    arrays: dict[str, NDArray[Any]] = {}
    for number, ((about_them, units), models) in enumerate(groups.items()):
        lists.append(KeptOutcomes(**json.loads(about_them), models=tuple(fingerprint for fingerprint, _ in models)))
        arrays[f"{number}/units"] = np.diff(np.frombuffer(units, np.int32), prepend=np.int32(0))
        for name, form in lists[-1].forms.items():
            values = np.stack([one.values[name] for _, one in models], axis=1)
            arrays[f"{number}/{name}"] = stored(values, form)
    return lists, arrays
