"""The node over HTTP: who may ask, what is answered, and what is refused before it is read."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from lesionsplit.serve.jobs import State

Series = Callable[..., list[Path]]


def test_stow_answers_as_the_standard_says(start: Any, series: Series) -> None:
    node = start()
    paths = series()
    response = node.stow(*paths)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/dicom+json"
    answer = pydicom.Dataset.from_json(response.text)
    uids = {str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence}
    assert uids == {str(pydicom.dcmread(path).SOPInstanceUID) for path in paths}
    assert node.job(State.DONE).sender == "http"


def test_dicomweb_client_can_send(start: Any, series: Series) -> None:
    from dicomweb_client.api import DICOMwebClient

    node = start({"http": {"token": "secret"}})
    client = DICOMwebClient(f"{node.url}/dicom-web", headers={"Authorization": "Bearer secret"})
    client.store_instances([pydicom.dcmread(path) for path in series()])
    node.job(State.DONE)


def test_what_is_not_dicom_is_named_and_the_rest_taken(start: Any, series: Series, tools: ModuleType) -> None:
    node = start()
    paths = series()
    response = node.post("/dicom-web/studies", *tools.multipart(paths[0].read_bytes(), b"no DICOM"))
    assert response.status_code == 202
    answer = pydicom.Dataset.from_json(response.text)
    assert len(answer.ReferencedSOPSequence) == 1
    assert [item.FailureReason for item in answer.FailedSOPSequence] == [0xC000]
    assert node.post("/dicom-web/studies", *tools.multipart(b"no DICOM")).status_code == 409


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dicom", b"x"),
        ("multipart/related", b"x"),
        ('multipart/related; type="application/dicom+json"; boundary=edge', b"--edge\r\n\r\n[]\r\n--edge--"),
        ("multipart/related; boundary=edge", b"nothing of the kind"),
        ("multipart/related; boundary=edge", b"--edge\r\nContent-Type: application/dicom\r\n\r\ncut of"),
        ("multipart/related; boundary=edge", b""),
    ],
)
def test_requests_that_are_no_stow_are_refused(start: Any, kind: str, body: bytes) -> None:
    node = start()
    assert node.post("/dicom-web/studies", body, kind).status_code in (400, 409)
    assert list(node.node.store.arriving.iterdir()) == []


def test_a_request_that_is_too_large_ends_early(start: Any, tools: ModuleType) -> None:
    """Two gigabytes are announced, or come without being announced: neither is read to its end."""
    node = start({"http": {"largest_request_mb": 1}})
    port = node.node.settings.http.port
    for announced in (b"Content-Length: 2147483648\r\n", b"Transfer-Encoding: chunked\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
            one.sendall(b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n" + announced)
            one.sendall(b"Content-Type: multipart/related; boundary=edge\r\n\r\n")
            sent = 0
            with suppress(OSError):
                for _ in range(200):  # 13 MB
                    piece = b"x" * 65536
                    one.sendall(b"10000\r\n" + piece + b"\r\n" if b"chunked" in announced else piece)
                    sent += len(piece)
            answer = b""
            with suppress(OSError):
                answer = one.recv(4096)
            assert answer.startswith(b"HTTP/1.1 413") or sent < 13_000_000
    assert list(node.node.store.arriving.iterdir()) == []
    assert node.get("/health").status_code == 200


def test_a_token_is_asked_for_everywhere_but_by_monitors(start: Any, series: Series) -> None:
    node = start({"http": {"token": "secret"}})
    for path in ("/", "/rows", "/series", "/series/1.2", "/series/1.2/report.html", "/metrics", "/static/node.js"):
        assert requests.get(node.url + path, timeout=5).status_code == 401, path
        assert requests.get(node.url + path, timeout=5, headers={"Authorization": "Bearer wrong"}).status_code == 401
    for path in ("/files?name=x.nii", "/dicom-web/studies", "/series/1.2/retry"):
        assert requests.post(node.url + path, timeout=5).status_code == 401, path
    for path in ("/health", "/ready"):
        assert requests.get(node.url + path, timeout=5).status_code == 200
    assert node.get("/").status_code == 200
    assert requests.get(node.url, timeout=5, auth=("anybody", "secret")).status_code == 200
    assert requests.get(node.url, timeout=5, auth=("secret", "anybody")).status_code == 401
    assert requests.get(node.url, timeout=5, headers={"Authorization": "Basic ?"}).status_code == 401


def test_other_websites_cannot_use_a_browser_against_the_node(start: Any, series: Series) -> None:
    node = start()
    node.send(*series())
    job = node.job(State.DONE)
    foreign = node.post(f"/series/{job.series}/retry", Origin="http://evil.example.org")
    assert (foreign.status_code, node.node.jobs.get(1).state) == (403, State.DONE)
    renamed = requests.get(node.url, timeout=5, headers={"Host": "evil.example.org"})
    assert renamed.status_code == 421
    own = node.post(f"/series/{job.series}/retry", Origin=node.url)
    assert own.status_code == 200


def test_series_as_json_and_as_pages(start: Any, series: Series) -> None:
    node = start()
    node.send(*series())
    job = node.job(State.DONE)
    (one,) = node.get("/series").json()
    assert one == node.get(f"/series/{job.series}").json()
    assert (one["state"], one["found"]["numbers"]["lesion_ml"]) == ("done", 12.25)
    report = node.get(f"/series/{job.series}/report.html")
    assert (report.status_code, report.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (report.headers["Cache-Control"], report.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert node.get("/series/1.2.3").status_code == 404
    assert node.get("/series/1.2.3/report.html").status_code == 404
    assert node.get("/series/..%2f..%2fjobs.sqlite/report.html").status_code == 404
    assert node.get("/static/..%2fapp.py").status_code == 404
    assert node.post(f"/series/{job.series}/cancel").status_code == 409
    assert node.post(f"/series/{job.series}/delete").status_code == 404


def test_the_list_is_sent_again_only_when_it_has_changed(start: Any, series: Series) -> None:
    node = start()
    first = node.get("/rows")
    tag = {"If-None-Match": first.headers["ETag"]}
    assert requests.get(f"{node.url}/rows", timeout=5, headers=tag).status_code == 304
    node.send(*series())
    assert requests.get(f"{node.url}/rows", timeout=5, headers=tag).status_code == 200


@pytest.mark.parametrize(
    ("words", "found"),
    [("A-1", 2), ("A-1 lung", 1), ("20200401", 2), ("2020-04-01", 2), ("P-4711", 2), ("%", 0), ("_", 0), ("x", 0)],
)
def test_series_are_searched(start: Any, series: Series, words: str, found: int) -> None:
    node = start({"series": {"quiet_s": 60.0}})
    node.send(*series("lung", 1))
    node.send(*series("bones", 2))
    assert len(node.get("/series", params={"q": words}).json()) == found


def test_what_a_header_says_is_text_on_the_page(start: Any, series: Series) -> None:
    node = start()
    node.send(*series("<script>alert(1)</script>", PatientName="<b>Doe</b>^Jane"))
    node.job(State.DONE)
    text = node.get("/").text
    assert "<script>alert" not in text
    assert "&lt;b&gt;Doe&lt;/b&gt;, Jane" in text


# Files that are dropped on the page


def upload(node: Any, name: str, content: bytes) -> requests.Response:
    found: requests.Response = node.post(f"/files?name={name}", content)
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_a_zip_of_slices_is_a_series_as_any_other(start: Any, series: Series) -> None:
    node = start({"series": {"quiet_s": 60.0}})
    paths = series()
    files = {f"ct/{path.name}": path.read_bytes() for path in paths} | {"ct/README": b"some words"}
    response = upload(node, "ct.zip", zipped(files))
    assert response.status_code == 202
    assert (response.json()["files"], response.json()["left_out"]) == (4, 1)
    assert node.job(State.DONE).slices == 4


def test_a_volume_is_predicted_at_once_and_the_same_volume_is_the_same_series(
    start: Any, make: ModuleType, tmp_path: Path
) -> None:
    node = start({"series": {"quiet_s": 60.0}})
    content = make.make_nifti(tmp_path / "My scan.nii.gz").read_bytes()
    (first,) = upload(node, "My scan.nii.gz", content).json()["series"]
    job = node.job(State.DONE)
    assert (job.series, job.header["description"]) == (first, "My scan.nii.gz")
    assert upload(node, "other.nii.gz", content).json()["series"] == [first]
    assert node.node.jobs.get(2) is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("", b"x", "the name of the file is missing"),
        ("scan.nii.gz", b"", "the file is empty"),
        ("notes.txt", b"some words", "is not a DICOM file"),
        ("broken.zip", b"PK\3\4 no more", "is not a zip archive that can be read"),
        ("none.zip", zipped({"a.txt": b"words"}), "is not a DICOM file"),
        ("out.zip", zipped({"../../etc/cron.d/x": b"words"}), "path leaves the archive"),
        ("empty.zip", zipped({}), "is empty"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_line(start: Any, name: str, content: bytes, said: str) -> None:
    node = start()
    response = upload(node, name, content)
    assert response.status_code == 400
    assert said in response.text
    assert response.text.count("\n") == 1
    assert str(node.node.store.root) not in response.text
    assert list((node.node.store.root / "series").iterdir()) == []
    assert list(node.node.store.arriving.iterdir()) == []


def test_a_zip_bomb_is_refused_before_it_is_unpacked(start: Any, tmp_path: Path) -> None:
    node = start()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("ct.dcm", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    before = time.monotonic()
    response = upload(node, "bomb.zip", content.getvalue())
    assert response.status_code == 400
    assert "would unpack from" in response.text
    assert time.monotonic() - before < 20
    nested = gzip.compress(bytes(50 << 20))
    (series,) = upload(node, "flat.nii.gz", nested).json()["series"]  # the reader decides, in its own process
    assert series


def test_an_upload_stops_at_the_largest_size_and_at_a_full_disk(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionsplit.serve import instances

    node = start({"http": {"largest_request_mb": 1}})
    assert upload(node, "scan.nii.gz", bytes(3 << 20)).status_code == 413
    usage = shutil.disk_usage(node.node.store.root)
    monkeypatch.setattr(instances.shutil, "disk_usage", lambda _: usage._replace(free=0))
    assert upload(node, "scan.nii.gz", b"x").status_code == 507
    assert list(node.node.store.arriving.iterdir()) == []


def test_metrics_can_be_read(start: Any, series: Series) -> None:
    node = start()
    node.send(*series())
    node.job(State.DONE)
    found = {family.name: family for family in text_string_to_metric_families(node.get("/metrics").text)}
    states = {sample.labels["state"]: sample.value for sample in found["lesionsplit_jobs"].samples}
    assert states["done"] == 1
    assert set(states) == {state.value for state in State}
    (count,) = (one for one in found["lesionsplit_prediction_seconds"].samples if one.name.endswith("_count"))
    assert count.value == 1


def test_a_dead_thread_is_seen(start: Any) -> None:
    node = start()
    node.node.completing.stop.set()
    node.node.completing.join(5)
    assert (node.get("/health").status_code, node.get("/health").text) == (500, "ended: completing\n")


def test_clients_that_stall_leave_room_for_others(start: Any, series: Series) -> None:
    """Fifty connections that say nothing: they are closed after their time, and slices come through."""
    node = start({"dicom": {"timeout_s": 1.0, "associations": 5}})
    stalled = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(50)]
    deadline = time.monotonic() + 60
    statuses: list[int] = []
    paths = series()
    while not statuses and time.monotonic() < deadline:
        statuses = node.send(*paths)
    for one in stalled:
        one.close()
    assert statuses == [0] * 4
    node.job(State.DONE)


def test_json_of_a_job_has_no_path(start: Any, series: Series) -> None:
    node = start()
    node.send(*series())
    node.job(State.DONE)
    assert str(node.node.store.root) not in json.dumps(node.get("/series").json())
