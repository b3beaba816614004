"""A node with a stand-in for the network, and those who send to it and receive from it."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
import requests
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.presentation import build_context

from lesionsplit.serve import predicting, sending
from lesionsplit.serve.jobs import Job, State
from lesionsplit.serve.node import Node
from lesionsplit.serve.settings import NodeSettings
from lesionsplit.settings import from_table, merged

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
SHAPE = (16, 12, 4)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for something to be true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@dataclass
class Running:
    """A node that runs in this process."""

    node: Node
    url: str
    port: int
    token: str = ""

    def job(self, state: State, number: int = 1) -> Job:
        """A job, once it is in a state."""

        def reached() -> Job | None:
            job = self.node.jobs.get(number)
            return job if job is not None and job.state == state else None

        try:
            found: Job = until(reached)
        except AssertionError:
            raise AssertionError(f"job {number} is {self.node.jobs.get(number)}, not {state}") from None
        return found

    def send(self, *paths: Path, aet: str = "LESIONSPLIT", calling: str = "SCANNER") -> list[int]:
        """C-STORE files in one association; returns the statuses."""
        return send(paths, self.port, aet=aet, calling=calling)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=10, headers=self._headers(), **options)

    def post(self, path: str, data: Any = None, kind: str = "", **headers: str) -> requests.Response:
        given = self._headers() | ({"Content-Type": kind} if kind else {}) | headers
        return requests.post(self.url + path, data=data, timeout=20, headers=given)

    def stow(self, *paths: Path) -> requests.Response:
        return self.post("/dicom-web/studies", *multipart(*(path.read_bytes() for path in paths)))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def send(paths: Any, port: int, *, aet: str = "LESIONSPLIT", calling: str = "SCANNER") -> list[int]:
    entity = AE(ae_title=calling)
    datasets = [pydicom.dcmread(path) for path in paths]
    kinds = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    entity.requested_contexts = [build_context(kind, [syntax]) for kind, syntax in kinds]
    association = entity.associate("127.0.0.1", port, ae_title=aet)
    if not association.is_established:
        return []
    try:
        return [int(association.send_c_store(one).get("Status", -1)) for one in datasets]
    finally:
        association.release()


def multipart(*contents: bytes) -> tuple[bytes, str]:
    """Body and content type of a STOW request."""
    parts = [b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in contents]
    return b"".join([*parts, b"--edge--\r\n"]), 'multipart/related; type="application/dicom"; boundary=edge'


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts nodes; ``start({"series": {"quiet_s": 9.0}})``."""
    monkeypatch.setattr(predicting, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.1)
    running: list[Node] = []

    def started(table: dict[str, Any] | None = None, command: tuple[str, ...] = STAND_IN) -> Running:
        base = {
            "dicom": {"port": free_port(), "timeout_s": 20.0},
            "http": {"port": free_port()},
            "series": {"quiet_s": 0.4, "min_slices": 2},
            "store": {"path": str(tmp_path / "store"), "min_free_gb": 0.001},
        }
        settings = from_table(NodeSettings, merged(base, table or {}), source="test")
        node = Node(settings, command)
        node.start()
        running.append(node)
        until(lambda: node.problem() == "" or node.predicting.refused)
        url = f"http://127.0.0.1:{settings.http.port}"
        return Running(node, url, settings.dicom.port, settings.http.token)

    yield started
    for node in running:
        if not node.stopped:
            node.end()


@dataclass
class Archive:
    """A STOW server that answers as it is told, then well."""

    answers: list[int | str] = field(default_factory=list)
    """Before it works: a status, or ``half`` of a body, or ``hang``."""

    objects: dict[str, Dataset] = field(default_factory=dict)
    """By SOPInstanceUID."""

    posts: int = 0
    times: list[float] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.posts += 1
            made.times.append(time.monotonic())
            made.headers.append(self.headers)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told = made.answers.pop(0) if made.answers else 200
            if told == "hang":
                time.sleep(4)
                return
            found = []
            if told in (200, "half"):
                edge = self.headers["Content-Type"].split('boundary="')[1].split('"')[0].encode()
                for part in body.split(b"--" + edge)[1:-1]:
                    one = pydicom.dcmread(BytesIO(part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")))
                    found.append(one)
                    if told == 200:
                        made.objects[one.SOPInstanceUID] = one
            answer = Dataset()
            answer.ReferencedSOPSequence = []
            for one in found:
                item = Dataset()
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
                answer.ReferencedSOPSequence.append(item)
            text = answer.to_json().encode()
            self.send_response(200 if told == "half" else int(told))
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text[: len(text) // 2] if told == "half" else text)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def to(archive: Archive, **more: Any) -> dict[str, Any]:
    """Settings that send to an archive."""
    return {"send": [{"kind": "stow", "url": archive.url, "name": "archive", "timeout_s": 10.0, **more}]}


@pytest.fixture
def tools() -> ModuleType:
    """This module: `until`, `to`, `multipart`, `free_port`."""
    return sys.modules[__name__]


@pytest.fixture
def series(tmp_path: Path, make: ModuleType) -> Callable[..., list[Path]]:
    """Writes small series: ``series("slow")``; the word is the series description."""

    def written(description: str = "lung", number: int = 1, **tags: Any) -> list[Path]:
        found: list[Path] = make.make_series(
            tmp_path / f"ct-{number}-{description}-{len(tags)}",
            SHAPE,
            spacing=(24.0, 24.0, 60.0),
            SeriesDescription=description,
            SeriesNumber=number,
            **tags,
        )
        return found

    return written
