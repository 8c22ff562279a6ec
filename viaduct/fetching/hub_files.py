"""Files from the Hugging Face Hub: data sets, each at one pinned revision, and models.

Data sets' Parquet files go to `hub/<owner>/<name>/` of the data folder, where `card.locate` finds them; a folder of the
same structure that the user filled is used as it is, and never added to. Models go to the Hub library's own cache,
where all code that loads them looks. The Hub library retries, resumes partial downloads, and locks between processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import DataError, UsageError
from viaduct.hub import COMMIT, is_offline, refusal, unreachable
from viaduct.results.writing import write_atomic
from viaduct.tasks.formats import all_shards

RECORD = "REVISION"
"""File in a data set's folder that records which revision was downloaded into it."""

NOT_LOADED = ("onnx/", "openvino/", "coreml/", "tf_model", "flax_model", "rust_model")
"""Name prefixes of files that hold the same model in other frameworks' formats."""


class HubFiles(NamedTuple):
    """The files of a data set that match one pattern."""

    repository: str
    commit: str
    pattern: str

    def are_in(self, data: Path) -> bool:
        """Whether all of them are in the data folder."""
        return all_shards(tuple((data / "hub" / self.repository).glob(self.pattern)))


def fetch_files(repository: str, wanted: Collection[HubFiles], data: Path) -> None:
    """Download the missing files of one data set.

    Raises DataError if the Hub cannot be reached or does not have them, and if the folder holds files of another
    revision or the user's own files: revisions are never mixed in a folder.
    """
    folder = data / "hub" / repository
    waiting = [one for one in wanted if not one.are_in(data)]
    for commit in dict.fromkeys(one.commit for one in waiting):
        _claim(folder, commit)
        patterns = sorted({one.pattern for one in waiting if one.commit == commit})
        _download(repository, commit, folder, patterns)
    lacking = [one.pattern for one in waiting if not one.are_in(data)]
    if lacking:
        more = f" and {len(lacking) - 3} others" if len(lacking) > 3 else ""
        message = f"{repository} has no {', '.join(lacking[:3])}{more} at revision {waiting[0].commit}"
        raise DataError(message, path=folder, fix="check the revision, or place the Parquet files there by hand")


def require_commit(repository: str, commit: str) -> None:
    """Raise UsageError for a branch or a tag, which move."""
    if not COMMIT.fullmatch(commit):
        raise UsageError(
            f"the revision '{commit}' of {repository} is not a commit: branches and tags move",
            fix="give the 40 hexadecimal digits",
        )


def _claim(folder: Path, commit: str) -> None:
    record = folder / RECORD
    if record.is_file():
        there = record.read_text(encoding="utf-8").strip()
        if there != commit:
            raise DataError(f"holds files of revision {there}, not {commit}", path=folder, fix="move the folder away")
        return
    if any(folder.rglob("*.parquet")):
        message = f"holds files without a record of their revision ({RECORD}), but not all that are needed"
        raise DataError(message, path=folder, fix="add the missing files by hand, or move the folder away")
    write_atomic(record, commit + "\n")


def _download(repository: str, commit: str, folder: Path, patterns: list[str]) -> None:
    import huggingface_hub  # slow to load, and only downloads need it

    try:
        if problem := unreachable():
            raise OSError(problem)
        if is_offline():  # the library would settle for the files that are present
            raise OSError("HF_HUB_OFFLINE is set")
        huggingface_hub.snapshot_download(
            repository, repo_type="dataset", revision=commit, local_dir=folder, allow_patterns=patterns
        )
    except Exception as error:
        raise DataError(str(refusal(error, repository, commit, "dataset")), path=folder) from error


def fetch_model(name: str, revision: str) -> Path:
    """The folder of a model in the Hub's local cache, with everything that loading it reads: settings, tokenizer, and
    its weights, single-file or sharded, as safetensors if available.

    Raises UsageError stating what the Hub requires, for example if a model is gated or private.
    """
    import huggingface_hub  # slow to load, and only downloads need it

    try:
        if problem := unreachable():
            raise OSError(problem)
        if is_offline():
            return Path(huggingface_hub.hf_hub_download(name, "config.json", revision=revision)).parent
        wanted = loaded_files(huggingface_hub.HfApi().list_repo_files(name, revision=revision))
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=wanted))
    except Exception as error:
        raise refusal(error, name, revision) from error


def loaded_files(names: Iterable[str]) -> list[str]:
    """The files of a model's repository that are read when it is loaded."""
    own = [name for name in names if not name.startswith(NOT_LOADED)]
    are_safe = any(name.endswith(".safetensors") and "/" not in name for name in own)
    weights = ".safetensors" if are_safe else ".bin"
    suffixes = (".json", ".txt", ".model", ".codes", weights)
    kept = [name for name in own if name.endswith(suffixes) and not name.endswith("training_args.bin")]
    return [name for name in kept if name.count("/") < 2]


def licence_of(name: str, revision: str) -> str:
    """The licence that a model's own card states, in words."""
    import huggingface_hub  # slow to load, and only downloads need it

    try:
        card = huggingface_hub.HfApi().model_info(name, revision=revision).card_data
    except Exception as error:
        raise refusal(error, name, revision) from error
    return str(card["license"]) if card is not None and card.get("license") else "none stated on its page"
