"""Downloads the files of a card's Hub source, at one pinned revision, to where `card.locate` finds them.

Only the Parquet files of the languages and splits asked for are fetched, into `hub/<owner>/<name>/` of the data folder.
A folder of the same structure that the user filled is used as it is, and never added to. Reading is done elsewhere.
"""

from __future__ import annotations

import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from viaduct.errors import DataError, UsageError
from viaduct.tasks.card import Source, Task, patterns
from viaduct.tasks.formats import all_shards

RECORD = "REVISION"
"""File in the dataset's folder that says which revision was downloaded into it."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


CONNECT_SECONDS = 2.0


def unreachable() -> str | None:
    """Why no network leads to the Hugging Face Hub; None where one does, or a proxy or a slow network may.

    The Hub's own library asks six times before it gives up, which takes 24 s for every file.
    """
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE  # slow to load, and folders do not need it

    if HF_HUB_OFFLINE or {"http", "https", "all"} & urllib.request.getproxies().keys():
        return None
    place = urllib.parse.urlsplit(ENDPOINT)
    try:
        port = place.port or {"http": 80}.get(place.scheme, 443)
        socket.create_connection((place.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except TimeoutError:
        return None
    except OSError as error:
        return f"{ENDPOINT} cannot be reached ({error.strerror or error})"
    return None


def hub_source(task: Task, split: str) -> Source:
    """The card's Hub source that has this split. Raises UsageError when there is none."""
    if task.parts:
        names = ", ".join(part.name for part in task.parts)
        raise UsageError(f"{task.name} has no Hub dataset of its own", fix=f"download those of its parts: {names}")
    for source in task.sources:
        if source.hub is not None and split in source.splits:
            return source
    raise UsageError(
        f"{task.name} has no Hub dataset with a {split} split",
        fix="download the official files: see the card's citation",
    )


def fetch(task: Task, data: Path, language: str, split: str, *, revision: str | None = None) -> Path:
    """The folder with the Hub files of one language and split, downloaded first if they are not there.

    `revision` is needed where the card pins none, and refused where it pins another. Raises UsageError for a revision
    that is not a commit, and DataError when the Hub cannot be reached, has not got the files, or when the folder holds
    files of another revision or of the user's own: revisions are never mixed in a folder.
    """
    source = hub_source(task, split)
    wanted = patterns(source, language, split)
    if source.hub is None or wanted is None:
        raise UsageError(f"the Hub dataset of {task.name} has no language '{language}'")
    folder = data / "hub" / source.hub.repository
    if _all_there(folder, wanted):
        return folder
    commit = _commit(task, source.hub.revision, revision)
    _claim(folder, commit)
    _download(source.hub.repository, commit, folder, wanted)
    if not _all_there(folder, wanted):
        message = f"{source.hub.repository} has no {', '.join(wanted.values())} at revision {commit}"
        raise DataError(message, path=folder, fix="check the revision, or place the Parquet files there by hand")
    return folder


def _all_there(folder: Path, wanted: dict[str, str]) -> bool:
    return all(all_shards(tuple(folder.glob(pattern))) for pattern in wanted.values())


def _commit(task: Task, pinned: str | None, given: str | None) -> str:
    if pinned and given and pinned != given:
        raise UsageError(f"{task.name} is pinned to revision {pinned}, not {given}", fix="leave the revision out")
    commit = pinned or given
    if not commit:
        raise UsageError(
            f"{task.name} pins no revision of its Hub dataset",
            fix="name the commit to download (40 hexadecimal digits), or place the Parquet files by hand",
        )
    if not _COMMIT.fullmatch(commit):
        raise UsageError(f"'{commit}' is not a commit: branches and tags move", fix="give the 40 hexadecimal digits")
    return commit


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
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(commit + "\n", encoding="utf-8")


def _download(repository: str, commit: str, folder: Path, wanted: dict[str, str]) -> None:
    import huggingface_hub  # slow to load, and only downloads need it
    from huggingface_hub.errors import HfHubHTTPError

    try:
        if problem := unreachable():
            raise OSError(problem)
        huggingface_hub.snapshot_download(
            repository, repo_type="dataset", revision=commit, local_dir=folder, allow_patterns=sorted(wanted.values())
        )
    except (OSError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{repository} cannot be downloaded from the Hugging Face Hub: {reason}",
            path=folder,
            fix=f"connect to the network and try again, or place {', '.join(wanted.values())} there by hand",
        ) from error
