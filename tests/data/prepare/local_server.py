"""A web server on this machine that serves files as badly as it is told to."""

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Served:
    """One file, and how the server misbehaves. What was asked and sent is written down."""

    content: bytes
    ranges: bool = True  # else a Range is ignored
    # The body of the first, second, … answer ends after so many bytes; None: whole.
    breaks: list[int | None] = field(default_factory=list)
    reset: bool = False  # break with a reset, not with an orderly end
    statuses: list[int] = field(default_factory=list)  # the first answers are only these
    length: int | None = None  # a Content-Length that lies
    announced: bool = True  # else no Content-Length: the end of the connection is the end
    stalls: list[float] = field(default_factory=list)  # seconds before the body of each answer
    hold: int | None = None  # the first answer stops after so many bytes, and stays open
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)  # the Range of each request
    encodings: list[str | None] = field(default_factory=list)  # the Accept-Encoding of each
    sent: list[int] = field(default_factory=list)  # bytes of the body of each answer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    files: dict[str, Served]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, name: str, content: bytes, **misbehaviour) -> Served:
        self.files[f"/{name}"] = Served(content=content, **misbehaviour)
        return self.files[f"/{name}"]

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        file = self.server.files.get(self.path)
        if file is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        file.asked.append(asked)
        file.encodings.append(self.headers.get("Accept-Encoding"))
        if file.statuses:
            self.send_error(file.statuses.pop(0))
            return
        size, first = len(file.content), 0
        if asked and file.ranges:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            if first >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if file.announced:
            length = size - first if file.length is None else file.length
            self.send_header("Content-Length", str(length))
        for name, value in file.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if file.stalls:
            self.wfile.flush()
            time.sleep(file.stalls.pop(0))
        if file.hold is not None:
            body, file.hold = file.content[first : first + file.hold], None
            file.sent.append(len(body))
            self.wfile.write(body)
            self.connection.recv(1)  # Until the client goes away.
            return
        limit = file.breaks.pop(0) if file.breaks else None
        body = file.content[first:] if limit is None else file.content[first : first + limit]
        file.sent.append(len(body))  # before the client can have seen the end of it
        self.wfile.write(body)
        if limit is not None and file.reset:
            self.wfile.flush()
            time.sleep(0.05)  # What was sent arrives before the reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server on a free port of this machine, in a thread."""
    server = Server(("127.0.0.1", 0), _Handler)
    server.files = {}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def small_disk(mount: Path, size: str) -> Iterator[Path]:
    """A disk of `size` (as mount takes it); skips the test where none can be mounted."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)
