"""A local server that speaks plain HTTP, as publishers' servers do, and the part of the Hub's API used for fetching."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What goes wrong with one request for a path."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes after which the connection breaks."""
    without_length: bool = False
    """No Content-Length: the body ends when the connection does."""
    body: bytes | None = None
    """Sent instead of the file."""


@dataclass
class Repository:
    """A repository of the Hub at one commit, with its files."""

    files: dict[str, bytes]
    commit: str = COMMIT
    refused: str | None = None
    """"gated", or "hidden" from everyone who is not logged in."""
    licence: str | None = "mit"


class LocalServer:
    """A server with its files, the faults to inject, and the requests it received."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Path -> content."""
        self.redirects: dict[str, str] = {}
        self.faults: dict[str, list[Fault]] = {}
        """Path -> faults, one per request; later requests have none."""
        self.models: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, range)"""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[LocalServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def requests(self, ending: str, method: str = "GET") -> list[str]:
        """The ranges requested of a file, "" for the whole file."""
        return [span for one, path, span in self.asked if one == method and path.endswith(ending)]


def _handler(server: LocalServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901  a class in a function
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = urlsplit(self.path).path
            server.asked.append((self.command, path, self.headers.get("Range", "")))
            faults = server.faults.get(path, [])
            fault = faults.pop(0) if faults else Fault()
            if fault.status is not None:
                self.reply(fault.status, fault.body or b"", fault.headers)
            elif path in server.redirects:
                self.reply(302, b"", {"Location": server.redirects[path]})
            elif path in server.files:
                self.file(server.files[path], fault)
            else:
                self.hub(path, fault)

        def hub(self, path: str, fault: Fault) -> None:
            if found := re.match(r"/api/(models|datasets)/(.+?)(?:/(tree|revision)/([^/?]+)(/.+)?)?$", path):
                kind, name, what, revision, folder = found.groups()
                if folder is not None:
                    self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
                    return
                self.api(getattr(server, kind).get(name), what, revision)
            elif found := re.match(r"(/datasets)?/(.+)/resolve/([^/]+)/(.+)$", path):
                kind, name, revision, file = found.groups()
                one = (server.datasets if kind else server.models).get(name)
                if self.is_refused(one, revision):
                    return
                assert one is not None
                if file in one.files:
                    self.file(one.files[file], fault, {"X-Repo-Commit": one.commit})
                else:
                    self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": one.commit})
            else:
                self.reply(404, b"no such path")

        def is_refused(self, one: Repository | None, revision: str | None) -> bool:
            if one is None or one.refused == "hidden":
                self.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
            elif one.refused == "gated":
                self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
            elif revision not in (None, one.commit, "main"):
                self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
            else:
                return False
            return True

        def api(self, one: Repository | None, what: str | None, revision: str | None) -> None:
            if self.is_refused(one, revision):
                return
            assert one is not None
            about: Any = {"id": "x", "sha": one.commit, "siblings": [{"rfilename": name} for name in one.files]}
            if one.licence is not None:
                about["cardData"] = {"license": one.licence}
            if what == "tree":
                about = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in one.files.items()
                ]
            self.reply(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

        def file(self, content: bytes, fault: Fault, headers: Mapping[str, str] = {}) -> None:
            content = content if fault.body is None else fault.body
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            headers = {"ETag": tag, "Accept-Ranges": "bytes", **headers, **fault.headers}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and self.headers.get("If-Range", tag) == tag:
                start = int(asked[1])
                if start >= len(content):
                    self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                    return
                headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
                self.reply(206, content[start:], headers, fault)
            else:
                self.reply(200, content, headers, fault)

        def reply(self, status: int, body: bytes, headers: Mapping[str, str] = {}, fault: Fault | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if fault is not None and fault.without_length:
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: fault.cut_after] if fault is not None else body)
            if fault is not None and fault.cut_after is not None:
                self.close_connection = True

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # a client may disconnect
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
