"""A node from the first slice to the last answer: what is predicted, what is sent, and what goes wrong on the way."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import SecondaryCaptureImageStorage  # type: ignore[attr-defined]

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.serve import instances, predicting, sending
from lesionsplit.serve.jobs import State

Series = Callable[..., list[Path]]


def test_a_series_is_predicted_once_it_is_quiet_and_sent(
    start: Any, series: Series, archive: Any, tools: ModuleType
) -> None:
    node = start(tools.to(archive))
    paths = series()
    assert node.send(*paths) == [0] * 4
    job = node.job(State.DONE)
    assert (job.slices, job.sender, job.header["patient_id"]) == (4, "SCANNER", "P-4711")
    assert job.found["numbers"]["lesion_ml"] == 12.25
    assert job.completed - job.arrived >= 0.4  # quiet_s
    (sent,) = archive.objects.values()
    first = pydicom.dcmread(paths[0])
    assert (sent.StudyInstanceUID, sent.PatientID) == (first.StudyInstanceUID, "P-4711")
    assert archive.posts == 1


def test_slices_keep_a_series_open(start: Any, series: Series) -> None:
    node = start({"series": {"quiet_s": 2.5}})
    for path in series():
        assert node.send(path) == [0]
        time.sleep(0.8)  # less than quiet_s; all together more
        assert node.node.jobs.get(1).state == State.RECEIVING
    assert node.job(State.DONE).slices == 4
    assert node.node.jobs.get(2) is None


def test_the_same_slices_again_change_nothing(start: Any, series: Series, archive: Any, tools: ModuleType) -> None:
    node = start(tools.to(archive))
    paths = series()
    node.send(*paths)
    before = node.job(State.DONE)
    assert node.send(*reversed(paths)) == [0] * 4
    assert node.stow(*paths).status_code == 200
    time.sleep(0.8)  # longer than quiet_s
    assert node.node.jobs.get(1) == before
    assert node.node.jobs.get(2) is None
    assert archive.posts == 1


def test_two_senders_at_once_and_slices_out_of_order(start: Any, series: Series, tools: ModuleType) -> None:
    from concurrent.futures import ThreadPoolExecutor

    node = start()
    paths = series()
    with ThreadPoolExecutor(4) as pool:
        orders = [paths, paths[::-1], paths[2:] + paths[:2], paths]
        assert list(pool.map(lambda order: tools.send(order, node.port), orders)) == [[0] * 4] * 4
    assert node.job(State.DONE).instances == 4
    assert node.node.jobs.get(2) is None


def test_slices_that_arrive_while_it_is_predicted_supersede_it(
    start: Any, series: Series, archive: Any, tools: ModuleType
) -> None:
    node = start(tools.to(archive))
    paths = series("slow")
    node.send(*paths[:3])
    node.job(State.RUNNING)
    node.send(paths[3])
    assert node.job(State.SUPERSEDED).reason == "slices arrived later: job 2"
    assert node.job(State.DONE, 2).slices == 4
    assert len(archive.objects) == 1
    assert not node.node.store.result(node.node.jobs.get(1)).exists()


def test_a_late_slice_makes_a_new_result(start: Any, series: Series, archive: Any, tools: ModuleType) -> None:
    node = start(tools.to(archive))
    paths = series()
    node.send(*paths[:3])
    node.job(State.DONE)
    node.send(paths[3])
    assert node.job(State.DONE, 2).slices == 4
    assert node.node.jobs.get(1).state == State.SUPERSEDED
    assert len(archive.objects) == 2  # of other slices, so another object


def test_another_object_of_the_same_uid_sets_the_series_aside(
    start: Any, series: Series, make: ModuleType, tmp_path: Path
) -> None:
    node = start({"series": {"quiet_s": 1.0}})
    paths = series()
    node.send(*paths)
    other = shutil.copy(paths[0], tmp_path / "other.dcm")
    make.edit(Path(other), RescaleIntercept=-1000)
    assert node.send(Path(other)) == [0x0111]
    assert "two different objects" in node.job(State.QUARANTINED).reason
    time.sleep(1.5)
    assert node.node.jobs.get(1).state == State.QUARANTINED
    kept = [pydicom.dcmread(path).RescaleIntercept for path in node.node.store.series(_series(paths)).iterdir()]
    assert kept == [-1024] * 4


def test_the_same_object_in_another_encoding_is_the_same(start: Any, series: Series, tmp_path: Path) -> None:
    node = start()
    paths = series()
    node.send(*paths)
    data = pydicom.dcmread(paths[0])
    data.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    data.save_as(tmp_path / "rle.dcm")
    assert node.send(tmp_path / "rle.dcm") == [0]
    assert node.job(State.DONE).instances == 4


def test_objects_that_are_no_ct_are_accepted_and_not_kept(start: Any, series: Series, tmp_path: Path) -> None:
    node = start()
    paths = series()
    report = pydicom.dcmread(paths[0])
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"  # dose report
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    report.save_as(tmp_path / "dose.dcm")
    assert node.send(tmp_path / "dose.dcm") == [0]
    assert node.node.jobs.latest(_series(paths)) is None
    assert list((node.node.store.root / "series").iterdir()) == []
    assert 'lesionsplit_instances_total{outcome="ignored"} 1.0' in node.get("/metrics").text


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesInstanceUID": "../../../etc"},
        {"SeriesInstanceUID": ""},
        {"SOPInstanceUID": "1." * 40 + "1"},
        {"StudyInstanceUID": None},
    ],
)
def test_identifiers_that_are_none_are_refused(start: Any, series: Series, tags: dict[str, Any]) -> None:
    node = start()
    before = set(node.node.store.root.parent.rglob("*"))
    path = series()[0]
    data = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        for name, value in tags.items():
            data[name].value = value
        response = node.post("/dicom-web/studies", *_encoded(data))
    assert response.status_code == 409
    assert list((node.node.store.root / "series").iterdir()) == []
    after = set(node.node.store.root.parent.rglob("*")) - before
    assert {one.name for one in after if one.is_dir()} == {path.parent.name}


def test_the_name_of_a_file_that_arrives_is_not_its_identifier(start: Any, series: Series) -> None:
    node = start()
    node.send(*series())
    names = [path.name for path in (node.node.store.root / "series").rglob("*")]
    assert len(names) == 5
    assert all(set(name.removesuffix(".dcm")) <= set("0123456789abcdef") for name in names)


def test_wrong_names_are_refused(start: Any, series: Series) -> None:
    node = start({"dicom": {"calling_aets": ["CT1"]}})
    paths = series()
    assert node.send(*paths) == []
    assert node.send(*paths, calling="CT1", aet="OTHER") == []
    assert node.node.jobs.get(1) is None
    assert node.send(*paths, calling="CT1") == [0] * 4


def test_an_object_that_is_too_large_ends_its_association(
    start: Any, series: Series, make: ModuleType, tmp_path: Path, tools: ModuleType
) -> None:
    node = start({"dicom": {"largest_object_mb": 1}})
    large = make.make_slice(np.zeros((1024, 1024)), SeriesNumber=9)  # 2 MB
    make.write_slice(tmp_path / "large.dcm", large)
    assert set(node.send(tmp_path / "large.dcm")) <= {-1}
    paths = series()
    assert node.send(*paths * 200)[-1] == 0  # 800 slices are more than 1 MB together
    assert node.job(State.DONE).series == _series(paths)
    assert node.node.jobs.latest(large.SeriesInstanceUID) is None


def test_a_full_disk_refuses_slices_and_says_so(
    start: Any, series: Series, monkeypatch: pytest.MonkeyPatch, tools: ModuleType
) -> None:
    node = start({"store": {"min_free_gb": 1.0}})
    usage = shutil.disk_usage(node.node.store.root)
    monkeypatch.setattr(instances.shutil, "disk_usage", lambda _: usage._replace(free=int(0.9e9)))
    paths = series()
    assert node.send(*paths) == [0xA700] * 4
    assert node.stow(*paths).status_code == 507
    assert node.get("/ready").status_code == 503
    assert "less than 1 GB are free" in node.get("/ready").text
    assert node.get("/health").status_code == 200
    assert node.node.jobs.get(1) is None
    monkeypatch.undo()
    assert node.send(*paths) == [0] * 4
    node.job(State.DONE)


def test_a_series_that_cannot_be_read_fails_with_the_reason(start: Any, series: Series) -> None:
    node = start()
    node.send(*series("bad"))
    assert node.job(State.FAILED).reason == "a bad thing"


def test_a_scan_without_lung_is_done_and_says_so(start: Any, series: Series, archive: Any, tools: ModuleType) -> None:
    node = start(tools.to(archive))
    node.send(*series("empty"))
    assert node.job(State.DONE).reason == "no lung was found"
    assert archive.posts == 0


@pytest.mark.parametrize("word", ["crash", "odd"])
def test_two_crashes_set_a_series_aside_and_delay_no_other(start: Any, series: Series, word: str) -> None:
    node = start()
    node.send(*series(word, 1))
    node.send(*series("lung", 2))
    job = node.job(State.QUARANTINED)
    assert job.crashes == 2
    assert "2 times" in job.reason
    node.job(State.DONE, 2)
    assert node.get("/ready").status_code == 200
    assert node.post(f"/series/{job.series}/retry").status_code == 200
    assert node.job(State.QUARANTINED).crashes == 2


def test_what_the_machine_lacks_is_tried_again(start: Any, series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    node = start()
    node.send(*series("full"))
    job = node.job(State.RETRY)
    assert job.reason == "a full thing"
    assert job.due > time.time() - 10
    deadline = time.monotonic() + 60
    while node.node.jobs.get(1).tries < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_prediction_that_takes_too_long_is_stopped(start: Any, series: Series) -> None:
    node = start({"model": {"limit_s": 0.5}})
    node.send(*series("slow"))
    assert "took longer than 0.5 s" in node.job(State.QUARANTINED).reason


def test_a_killed_worker_is_replaced(start: Any, series: Series) -> None:
    node = start()
    node.send(*series("slow"))
    node.job(State.RUNNING)
    os.kill(node.node.worker.pid, signal.SIGKILL)
    job = node.job(State.DONE)
    assert job.crashes == 0  # forgotten once it has succeeded


def test_a_series_is_cancelled_and_done_after_all(start: Any, series: Series) -> None:
    node = start()
    node.send(*series("endless", 1))
    node.send(*series("lung", 2))
    job = node.job(State.RUNNING)
    assert node.post(f"/series/{job.series}/cancel").json()["state"] == "cancelled"
    before = time.monotonic()
    node.job(State.DONE, 2)
    assert time.monotonic() - before < 40  # the minute of the endless one was not waited for
    assert node.node.jobs.get(1).state == State.CANCELLED
    assert node.post(f"/series/{job.series}/retry").json()["state"] in ("complete", "running")
    node.job(State.RUNNING)
    assert node.post(f"/series/{job.series}/cancel").ok  # else the node would wait for it at its end


def test_cancelling_what_has_just_ended_stops_nothing_else(start: Any, series: Series) -> None:
    """The job that is predicted by then is another one."""
    node = start()
    node.send(*series("lung", 1))
    first = node.job(State.DONE, 1)
    node.send(*series("slow", 2))
    node.job(State.RUNNING, 2)
    node.node.predicting.unwanted = first.number
    assert node.job(State.DONE, 2).crashes == 0


def test_rules_decide_what_is_predicted(start: Any, series: Series) -> None:
    rules = {"min_slices": 3, "max_thickness_mm": 70.0, "description": "lung", "not_description": "mip", "kernel": "^B"}
    node = start({"series": rules})
    kernel = {"ConvolutionKernel": "Br40"}
    node.send(*series("Lung 1", 1, **kernel))
    node.send(*series("Lung", 2, **kernel)[:2])
    node.send(*series("Lung", 3, SliceThickness=80, **kernel))
    node.send(*series("Abdomen", 4, **kernel))
    node.send(*series("Lung MIP", 5, **kernel))
    node.send(*series("Lung", 6, ConvolutionKernel="C"))
    reasons = [node.job(State.DONE, number).reason for number in range(1, 7)]
    assert reasons == [
        "",
        "not predicted: 2 slices; min_slices is 3",
        "not predicted: slices of 80 mm; max_thickness_mm is 70",
        "not predicted: the series description does not have 'lung'",
        "not predicted: the series description has 'mip'",
        "not predicted: the kernel does not have '^B'",
    ]


def test_one_series_of_a_study_is_chosen(start: Any, series: Series) -> None:
    node = start({"series": {"one_per_study": "thinnest"}})
    node.send(*series("thick", 1, SliceThickness=5))
    node.send(*series("thin", 2, SliceThickness=1))
    node.send(*series("other study", 3, SliceThickness=8, StudyID="2"))
    assert node.job(State.DONE, 1).reason == "not predicted: the thinnest series of its study is job 2"
    assert node.job(State.DONE, 2).reason == ""
    assert node.job(State.DONE, 3).reason == ""


def test_ended_jobs_are_deleted_after_their_days_with_every_trace(start: Any, series: Series) -> None:
    node = start({"store": {"keep_days": 1.0}})
    node.send(*series("lung", 1))
    node.send(*series("lung", 2))
    old = node.job(State.DONE, 1)
    new = node.job(State.DONE, 2)
    node.node.jobs.move(1, [State.DONE], State.DONE, ended=time.time() - 90_000)
    node.node.completing.clean()
    assert node.node.jobs.get(1) is None
    assert not node.node.store.series(old.series).exists()
    assert not node.node.store.result(old).exists()
    assert node.node.store.series(new.series).exists()
    content = b"".join(path.read_bytes() for path in node.node.store.root.glob("jobs.sqlite*"))
    assert old.series.encode() not in content
    assert new.series.encode() in content


def test_the_store_is_its_owners_alone_and_one_nodes(start: Any, tmp_path: Path) -> None:
    node = start()
    assert node.node.store.root.stat().st_mode & 0o777 == 0o700
    with pytest.raises(DataError, match="another node uses this store"):
        start()
    with pytest.raises(DataError, match="cannot be written"):
        start({"store": {"path": "/proc/none/store"}})


def test_a_port_that_is_taken_is_one_line(start: Any, tmp_path: Path) -> None:
    node = start()
    with pytest.raises(SettingsError, match=r"\[dicom\] 127.0.0.1:\d+ cannot be used"):
        start({"dicom": {"port": node.port}, "store": {"path": str(tmp_path / "two")}})
    with pytest.raises(SettingsError, match=r"\[http\] 127.0.0.1:\d+ cannot be used"):
        start({"http": {"port": node.node.settings.http.port}, "store": {"path": str(tmp_path / "three")}})


def test_weights_that_cannot_be_used_are_named(start: Any, series: Series) -> None:
    node = start({"model": {"weights": "broken"}})
    assert node.get("/ready").text == "broken: cannot be read; give another file\n"
    assert node.send(*series()) == [0] * 4  # kept for later
    job = node.job(State.COMPLETE)
    assert job.reason == ""


def test_a_process_that_cannot_be_started_is_named_once(
    start: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start(command=("/nowhere/python",))
    expected = "the process that predicts cannot be started (No such file or directory)"
    assert node.get("/ready").text == f"{expected}\n"
    time.sleep(1.0)
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == [expected]
    assert node.get("/health").status_code == 200


# Sending


def test_an_archive_that_fails_gets_it_later_and_once(
    start: Any, series: Series, archive: Any, tools: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.4)
    archive.answers += [500, 409, "half", "hang"]
    node = start(tools.to(archive, longest_wait_s=0.5, timeout_s=2.0))
    node.send(*series())
    assert "archive: answered 500" in _reason(node, "answered 500")
    node.job(State.DONE)
    assert (archive.posts, len(archive.objects)) == (5, 1)
    waits = [later - before for before, later in zip(archive.times, archive.times[1:], strict=False)]
    assert waits[0] >= 0.4
    assert waits[1] >= 0.5
    assert 0.5 <= waits[2] < 1.5  # the longest wait, not four times the first


def test_an_archive_that_is_down_delays_nothing_else(
    start: Any, series: Series, archive: Any, tools: ModuleType
) -> None:
    down = {"kind": "stow", "url": f"http://127.0.0.1:{tools.free_port()}", "name": "down", "give_up_h": 0.0002}
    node = start({"send": [down, *tools.to(archive)["send"]]})
    node.send(*series("lung", 1))
    node.send(*series("lung", 2))
    tools.until(lambda: len(archive.objects) == 2)
    assert node.job(State.FAILED, 1).reason == "could not be sent: cannot be reached"  # it was given up in time
    assert node.node.jobs.get(1).sends["archive"]["sent"]


def test_a_token_a_sender_and_the_objects_are_those_of_the_settings(
    start: Any, series: Series, archive: Any, tools: ModuleType
) -> None:
    node = start(tools.to(archive, token="secret", calling_aets=["CT1"]))
    node.send(*series("lung", 1), calling="CT2")
    node.job(State.DONE, 1)
    assert archive.posts == 0
    node.send(*series("lung", 2), calling="CT1")
    node.job(State.DONE, 2)
    assert archive.headers[0]["Authorization"] == "Bearer secret"


def test_results_go_by_c_store(start: Any, series: Series, tools: ModuleType) -> None:
    statuses, taken = [0xA700, 0xB000], []

    def take(event: evt.Event) -> int:
        status = statuses.pop(0) if statuses else 0
        taken.append((event.assoc.acceptor.ae_title, status, event.dataset.SOPClassUID))
        return status

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    port = tools.free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    assert server is not None
    try:
        node = start({"send": [{"kind": "cstore", "host": "127.0.0.1", "port": port, "aet": "ARCHIVE"}]})
        node.send(*series())
        node.job(State.DONE)
    finally:
        server.shutdown()
    # refused once; a warning is as good as a success
    assert [status for _, status, _ in taken] == [0xA700, 0xB000]


# Stopping and starting


def test_a_stopped_node_goes_on_where_it_was(start: Any, series: Series, archive: Any, tools: ModuleType) -> None:
    archive.answers += [500] * 1000
    settings = tools.to(archive, longest_wait_s=0.2)
    node = start(settings)
    node.send(*series("lung", 1))
    node.job(State.SENDING, 1)
    node.send(*series("lung", 2)[:3])
    node.node.end()
    archive.answers.clear()
    again = start(settings | {"series": {"quiet_s": 1.0}})
    began = time.monotonic()
    assert again.send(*series("lung", 2)[3:]) == [0]
    again.job(State.DONE, 1)
    job = again.job(State.DONE, 2)
    assert job.slices == 4
    assert time.monotonic() - began > 0.9  # the quiet time began anew
    assert len(archive.objects) == 2


def test_what_was_predicted_when_it_stopped_is_begun_again(
    start: Any, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start()
    node.send(*series("slow"))
    node.job(State.RUNNING)
    monkeypatch.setattr("lesionsplit.serve.node.DRAINING", 0.1)
    node.node.end()
    again = start()
    job = again.job(State.DONE)
    assert (job.number, job.crashes) == (1, 0)


def test_a_stopping_node_lets_a_prediction_end(start: Any, series: Series) -> None:
    node = start()
    node.send(*series("slow"))
    node.job(State.RUNNING)
    node.node.end()
    again = start()
    assert again.node.jobs.get(1).state == State.DONE


def test_slices_that_no_job_counts_are_taken_up(start: Any, series: Series) -> None:
    """As if the node had been killed between writing a slice and counting it."""
    node = start()
    paths = series()
    node.send(*paths[:3])
    node.job(State.DONE)
    folder = node.node.store.series(_series(paths))
    node.node.end()
    shutil.copy(paths[3], folder / f"{'a' * 32}.dcm")
    again = start()
    assert again.job(State.DONE, 2).slices == 4


def test_no_line_of_the_log_and_no_metric_names_a_patient(
    start: Any, series: Series, caplog: pytest.LogCaptureFixture, archive: Any, tools: ModuleType
) -> None:
    caplog.set_level("DEBUG")
    archive.answers += [500]
    node = start(tools.to(archive))
    tags = {"PatientName": "Secret^Name", "PatientID": "SECRET-1", "AccessionNumber": "SECRET-2"}
    paths = series("lung", 1, **tags)
    node.send(*paths)
    node.job(State.DONE)
    node.send(*series("crash", 2, **tags))
    node.job(State.QUARANTINED, 2)
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lesionsplit"))
    assert "job 1: predicted after" in text
    for given in (text, node.get("/metrics").text):
        assert "secret" not in given.lower()
        assert _series(paths) not in given


def test_a_worker_ends_with_its_node(tools: ModuleType) -> None:
    """Killed, a node can tell its process nothing; the process sees that nobody writes to it any more."""
    import subprocess

    process = subprocess.Popen(predicting.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write('{"weights": "default", "threshold": null, "threads": 1, "memory_gb": 16.0}\n')
    process.stdin.flush()
    assert '"ready": ' in process.stdout.readline()
    process.stdin.close()
    assert process.wait(5) == 0
    process.stdout.close()


def _series(paths: list[Path]) -> str:
    return str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)


def _encoded(data: pydicom.FileDataset) -> tuple[bytes, str]:
    from io import BytesIO

    content = BytesIO()
    data.save_as(content, enforce_file_format=True)
    body = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + content.getvalue() + b"\r\n--edge--\r\n"
    return body, 'multipart/related; type="application/dicom"; boundary=edge'


def _reason(node: Any, words: str) -> str:
    from lesionsplit.serve.web.rows import row_of

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = node.node.jobs.get(1)
        if job is not None and job.sends and words in (text := row_of(job, has_report=False).reason):
            return text
        time.sleep(0.005)
    raise AssertionError("no reason was shown")
