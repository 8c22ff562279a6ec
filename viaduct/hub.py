"""The Hugging Face Hub, where models and data sets come from: whether it is reachable, which commit a name refers to
now, and what its errors mean."""

from __future__ import annotations

import re
import socket
import urllib.parse
import urllib.request
from typing import Literal

from viaduct.errors import UsageError

COMMIT = re.compile(r"[0-9a-f]{40}")
CONNECT_SECONDS = 2.0

Kind = Literal["model", "dataset"]


def unreachable() -> str | None:
    """Why the Hugging Face Hub cannot be reached; None if it can, or if a proxy or a slow network may lead to it.

    The Hub's own library tries six times before it gives up, which takes 24 s for every file.
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


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` (or `TRANSFORMERS_OFFLINE`) forbids downloads."""
    from huggingface_hub.constants import HF_HUB_OFFLINE  # slow to load, and folders do not need it

    return bool(HF_HUB_OFFLINE)


def commit_of(name: str, revision: str | None = None, kind: Kind = "model") -> str:
    """The commit that a repository's revision (None: its main branch) refers to now.

    Raises UsageError if the Hub cannot be reached or refuses.
    """
    import huggingface_hub  # slow to load, and only downloads need it

    try:
        if problem := unreachable():
            raise OSError(problem)
        commit = huggingface_hub.HfApi().repo_info(name, repo_type=kind, revision=revision).sha
    except Exception as error:
        raise refusal(error, name, revision, kind) from error
    return str(commit)


def refusal(error: Exception, name: str, revision: str | None, kind: Kind = "model") -> UsageError:
    """The error that says why the Hub did not provide this repository (a refusal, or no network), and what to do.

    Raises `error` itself if it is of another kind.
    """
    from httpx2 import TransportError  # slow to load, and only downloads need them
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    at = "" if revision is None else f" at {revision}"
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        message = f"the {kind} '{name}' is gated: its authors give it to those who accept their terms"
        return UsageError(message, fix=f"accept them at {page}, then {log_in}")
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"the {kind} '{name}' has no revision {revision}", fix=f"use a commit from {page}/commits")
    if isinstance(error, errors.RepositoryNotFoundError):
        message = f"the Hub has no {kind} '{name}', or it is private and nobody with access is logged in"
        message = message if kind == "dataset" else f"there is no folder {name}, and {message}"
        return UsageError(message, fix=f"check the name; if it is private, {log_in}")
    if is_offline():
        message = f"the {kind} '{name}'{at} is not in the Hub's local cache, and HF_HUB_OFFLINE forbids downloading it"
        return UsageError(message, fix="fetch it where there is a network (`viaduct fetch`), or unset HF_HUB_OFFLINE")
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if not isinstance(error, OSError | errors.HFValidationError | TransportError):
        raise error
    return UsageError(
        f"the Hugging Face Hub does not give the {kind} '{name}'{at}: {said}",
        fix="check the name, the revision, the network and its proxy, or name a folder",
    )
