"""A web server on the loopback that sends ranges of files, counts, and can misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class WebServer(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        sent: bytes of bodies, by the name of the file.
        asked: (name, first byte, one past the last) of every request, None where there is no range.
        ranges: whether it sends parts of files.
        drops: how many answers are cut off in their middle; -1 for all of them.
        short: send fewer bytes than a range has, and say so.
        status: of every answer, if it is to be an error.
        wait: seconds before it answers.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.sent: dict[str, int] = {}
        self.asked: list[tuple[str, int, int] | None] = []
        self.ranges, self.drops, self.short, self.status, self.wait = True, 0, False, 0, 0.0
        self.lock = threading.Lock()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no matter."""


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        server, name = self.server, self.path.partition("?")[0].strip("/")
        time.sleep(server.wait)
        path = server.folder / name
        if server.status or not path.is_file():
            self._head(server.status or 404, 0)
            return
        size = path.stat().st_size
        first, last, status = 0, size, 200
        if server.ranges and (wanted := self.headers.get("Range")):
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last, status = int(start), min(size, int(stop) + 1 if stop else size), 206
            if first >= size:
                self._head(416, 0)
                return
        with server.lock:
            server.asked.append((name, first, last) if status == 206 else None)
        length = (last - first) // 2 if server.short and first else last - first
        more = {"Content-Range": f"bytes {first}-{last - 1}/{size}"} if status == 206 else {}
        self._head(status, length, {**more, "ETag": f'"{path.stat().st_mtime_ns}"'})
        if with_body:
            self._body(path, name, first, length)

    def _head(self, status: int, length: int, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for key, value in (more or {}).items():
            self.send_header(key, value)
        self.end_headers()

    def _body(self, path: Path, name: str, first: int, length: int) -> None:
        server = self.server
        with server.lock:
            drop = server.drops != 0 and first > 0
            server.drops -= 1 if drop and server.drops > 0 else 0
        with path.open("rb") as file:
            file.seek(first)
            left = length // 2 if drop else length
            while left:
                part = file.read(min(left, 1 << 20))
                with server.lock:  # before the client has them, who may look then
                    server.sent[name] = server.sent.get(name, 0) + len(part)
                self.wfile.write(part)
                left -= len(part)
        if drop:
            self.close_connection = True


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server of a folder, on a port of its own."""
    server = WebServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
