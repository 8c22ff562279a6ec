"""Downloads one file from a publisher's server: resumes partial downloads, checks size and SHA-256, is all or nothing.

The bytes so far are in `NAME.part`; `NAME.part.version` next to it holds the server's name for this version of the file
(its ETag), so that halves of two versions are never joined. httpx2 follows redirects, honours proxies and detects a
body that ends too early; waiting and retrying are done here.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx2

from viaduct.errors import DataError, StoreError
from viaduct.hub import is_offline
from viaduct.paths import free_bytes
from viaduct.tasks.opening import BEGINNING, other_than_data

TRIES = 6
"""Consecutive attempts without a single new byte, after which it gives up."""
FIRST_WAIT_SECONDS = 1.0
"""Doubled with every attempt; a server's own `Retry-After` takes precedence."""
LONGEST_WAIT_SECONDS = 300.0
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)

Progress = Callable[[int, int | None], None]
"""(bytes so far, total bytes if known)."""


@dataclass(frozen=True)
class Wanted:
    """A file on a server, and what is known about it beforehand."""

    address: str
    size: int | None = None
    sha256: str | None = None


class _PassingError(Exception):
    """A transient fault."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def download(wanted: Wanted, path: Path, progress: Progress = lambda _done, _total: None) -> str:
    """Download a file to `path`, and return its SHA-256.

    Raises DataError if the server does not provide it or sends something else, StoreError if the disk is too full.
    """
    if is_offline():
        fix = "fetch where there is a network, or unset HF_HUB_OFFLINE"
        raise DataError(f"{wanted.address}: HF_HUB_OFFLINE forbids downloading it", fix=fix)
    part = _Part(path)
    if wanted.size is not None and free_bytes(path) < wanted.size - part.size:
        message = f"{path} takes {wanted.size / 1e9:,.1f} GB, and its disk has {free_bytes(path) / 1e9:,.1f} GB free"
        raise StoreError(message, fix="make room, or name another folder with --data")
    failures = 0
    with httpx2.Client(follow_redirects=True, timeout=TIMEOUT) as client:
        while True:
            before = part.size
            try:
                resumed = _receive(client, wanted, part, progress)
                return _finish(wanted, part, path, resumed)
            except _PassingError as problem:
                failures = 0 if part.size > before else failures + 1
                if failures == TRIES:
                    _fail(wanted, f"{problem}, {TRIES} times", "try again later: what has arrived is kept")
                time.sleep(problem.seconds if problem.seconds is not None else FIRST_WAIT_SECONDS * 2**failures)


class _Part:
    """The bytes of a file that have arrived, and the version of the file that they belong to."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.version_path = path.with_name(f"{path.name}.part.version")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str | None:
        return self.version_path.read_text(encoding="utf-8") if self.version_path.is_file() else None

    def begin(self, version: str | None) -> None:
        self.remove()
        if version is not None:
            self.version_path.write_text(version, encoding="utf-8")

    def remove(self) -> None:
        if self.path.is_file():
            self.path.unlink()
        self.version_path.unlink(missing_ok=True)


def _receive(client: httpx2.Client, wanted: Wanted, part: _Part, progress: Progress) -> bool:
    """Append what is still missing from the file to the part; returns whether earlier bytes were kept."""
    have = part.size
    if have and have == wanted.size:
        return True
    headers = {"Accept-Encoding": "identity"}
    if have and (part.version or wanted.sha256):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": part.version} if part.version else {})
    try:
        with client.stream("GET", wanted.address, headers=headers) as response:
            _require_given(wanted, response, part)
            resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT
            if not resumed:
                part.begin(_version_of(response))
            _write(wanted, response, part, progress)
            return resumed
    except httpx2.ProxyError as error:
        _fail(wanted, f"the proxy refuses: {error}", "check the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
    except httpx2.ConnectError as error:
        _fail(wanted, f"cannot be reached: {error}", "connect to the network, or name a --mirror")
    except (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise _PassingError(f"the connection broke: {error or type(error).__name__}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        _fail(wanted, str(error), "check the address and the --mirror")


def _version_of(response: httpx2.Response) -> str | None:
    """The response's ETag if it is a strong one, which guarantees identical bytes; otherwise None."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else None


def _require_given(wanted: Wanted, response: httpx2.Response, part: _Part) -> None:
    code, words = response.status_code, f"{response.status_code} {response.reason_phrase}"
    if code == httpx2.codes.RANGE_NOT_SATISFIABLE:
        part.remove()
        raise _PassingError("the server has less of the file than has arrived", 0.0)
    if code == httpx2.codes.TOO_MANY_REQUESTS or code >= httpx2.codes.INTERNAL_SERVER_ERROR:
        raise _PassingError(f"the server says {words}", _asked_seconds(wanted, response))
    if code in (httpx2.codes.NOT_FOUND, httpx2.codes.GONE):
        _fail(wanted, f"the file is no longer there ({words})", "place it by hand, or name a --mirror that has it")
    if code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        _fail(wanted, f"the server does not give it to everyone ({words})", "ask its publisher, and place it by hand")
    if code == httpx2.codes.PARTIAL_CONTENT:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            part.remove()
            raise _PassingError("the server answers with a different part of the file than was requested", 0.0)
    elif code != httpx2.codes.OK:
        _fail(wanted, f"the server says {words}", "open the address in a browser")


def _asked_seconds(wanted: Wanted, response: httpx2.Response) -> float | None:
    """The seconds that a server asks to wait, given as a number or as a date; None if it does not say."""
    said = response.headers.get("Retry-After", "").strip()
    seconds: float | None = float(said) if said.isdigit() else None
    if said and seconds is None:
        with contextlib.suppress(ValueError):
            moment = email.utils.parsedate_to_datetime(said)
            seconds = max(0.0, (moment - datetime.datetime.now(moment.tzinfo)).total_seconds())
    if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
        _fail(wanted, f"the server asks to wait {seconds:,.0f} s", "try again then: what has arrived is kept")
    return seconds


def _write(wanted: Wanted, response: httpx2.Response, part: _Part, progress: Progress) -> None:
    done = part.size
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdigit() else None
    if wanted.size is not None and total is not None and total != wanted.size:
        _wrong_length(wanted, part, total)
    with part.path.open("ab") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            progress(done, total or wanted.size)
            if wanted.size is not None and done > wanted.size:
                break
        file.flush()
        os.fsync(file.fileno())
    if wanted.size is not None and done != wanted.size:
        _wrong_length(wanted, part, done)


def _finish(wanted: Wanted, part: _Part, path: Path, resumed: bool) -> str:
    """Check what has arrived, and move it into place."""
    with part.path.open("rb") as file:
        other = other_than_data(file.read(BEGINNING))
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if other is not None or (wanted.sha256 is not None and found != wanted.sha256):
        part.remove()
        if resumed:
            raise _PassingError("the parts that arrived do not make up the file", 0.0)
        if other is not None:
            _fail(wanted, *other)
        message = f"the server's file has the SHA-256 {found}, but {wanted.sha256} was published"
        _fail(wanted, message, "the file has changed since, or in transit: nothing of it is kept")
    part.path.replace(path)
    part.remove()
    return found


def _wrong_length(wanted: Wanted, part: _Part, found: int) -> NoReturn:
    part.remove()
    message = f"the server sends {found:,} bytes, but {wanted.size:,} were published"
    _fail(wanted, message, "the file has changed since, or in transit: nothing of it is kept")


def _fail(wanted: Wanted, message: str, fix: str) -> NoReturn:
    raise DataError(f"{wanted.address}: {message}", fix=fix)
