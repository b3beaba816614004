"""Many series at once to a node: `python -m benchmarks.node CIP_FOLDER LIDC_FOLDER`.

20 copies of one series and 3 of another, each with its own UIDs, are sent by 4 associations at the same time. Printed
are the rate at which they are received, the time from the last slice of each series to its result, and the memory.
"""

from __future__ import annotations

import argparse
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from statistics import median

import pydicom
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

COPIES = (20, 3)
SENDERS = 4
QUIET = 5.0


def main() -> None:
    given = argparse.ArgumentParser(prog="python -m benchmarks.node", description=__doc__.splitlines()[0])
    given.add_argument("folders", type=Path, nargs=2)
    given.add_argument("--copies", type=int, nargs=2, default=COPIES)
    options = given.parse_args()
    waiting: queue.SimpleQueue[list[pydicom.FileDataset]] = queue.SimpleQueue()
    bytes_, total = 0, 0
    for folder, copies in zip(options.folders, options.copies, strict=True):
        for number in range(copies):
            series = copy_of(folder, f"{folder.name} {number}")
            bytes_ += sum(len(one.PixelData) for one in series)
            total += len(series)
            waiting.put(series)
    count = sum(options.copies)
    with tempfile.TemporaryDirectory() as name:
        dicom, http = free_port(), free_port()
        settings = Path(name) / "node.toml"
        settings.write_text(
            f"[dicom]\nport = {dicom}\n[http]\nport = {http}\n[series]\nquiet_s = {QUIET}\n"
            f"[store]\npath = '{name}/store'\n"
        )
        command = [sys.executable, "-c", "from lesionsplit.cli import main; main()", "serve", "--config", str(settings)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{http}"
        while not ready(url):
            time.sleep(0.1)
        memory: list[tuple[float, int, int]] = []
        stop = threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, memory, stop))
        watcher.start()
        last: dict[str, float] = {}
        failed: list[int] = []
        begun = time.time()
        senders = [threading.Thread(target=send, args=(waiting, dicom, last, failed)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        received = time.time() - begun
        while True:
            jobs = json.load(urllib.request.urlopen(f"{url}/series", timeout=60))  # noqa: S310
            if len(jobs) == count and all(job["state"] in ("done", "failed", "quarantined") for job in jobs):
                break
            time.sleep(1.0)
        finished = time.time() - begun
        stop.set()
        watcher.join()
        process.terminate()
        process.wait(90)
    waits = sorted(job["ended"] - last[job["series"]] - QUIET for job in jobs)
    took = sorted(job["predicted"] - job["started"] for job in jobs)
    lost = count - sum(job["state"] == "done" and bool(job["found"]) for job in jobs)
    print(
        f"sent: {count} series, {total} slices, {bytes_ / 1e6:.0f} MB by {SENDERS} associations; refused: {len(failed)}"
    )
    print(f"received in {received:.1f} s: {total / received:.0f} slices/s, {bytes_ / 1e6 / received:.0f} MB/s")
    print(f"results after {finished:.0f} s; lost: {lost}")
    print(f"prediction of a series: {took[0]:.1f} to {took[-1]:.1f} s, median {median(took):.1f} s")
    print(f"from the last slice and {QUIET:g} s of quiet to the result: {waits[0]:.1f} to {waits[-1]:.1f} s")
    for title, column in (("node", 1), ("process that predicts", 2)):
        values = [one[column] / 1e6 for one in memory]
        third = len(values) // 3
        print(
            f"memory of the {title}, MB: {max(values[:third]):.0f} in the first third, {max(values[third:]):.0f} later"
        )


def copy_of(folder: Path, name: str) -> list[pydicom.FileDataset]:
    """A series in memory with UIDs of its own."""
    found = []
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", name])
        data.StudyInstanceUID = generate_uid(entropy_srcs=["study", name])
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
        found.append(data)
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ready(url: str) -> bool:
    with suppress(OSError, urllib.error.HTTPError):
        return bool(urllib.request.urlopen(f"{url}/ready", timeout=5).status == 200)  # noqa: S310
    return False


def send(
    waiting: queue.SimpleQueue[list[pydicom.FileDataset]], port: int, last: dict[str, float], bad: list[int]
) -> None:
    """One association sends series after series."""
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(CTImageStorage, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    association = entity.associate("127.0.0.1", port, ae_title="LESIONSPLIT")
    while True:
        try:
            series = waiting.get_nowait()
        except queue.Empty:
            break
        for data in series:
            status = int(association.send_c_store(data).get("Status", -1))
            if status:
                bad.append(status)
        last[str(series[0].SeriesInstanceUID)] = time.time()
    association.release()


def watch(pid: int, memory: list[tuple[float, int, int]], stop: threading.Event) -> None:
    """Note the resident memory of the node and of its child."""
    while not stop.wait(0.5):
        child = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for one in (task / "children").read_text().split():
                    child = max(child, resident(int(one)))
        memory.append((time.time(), resident(pid), child))


def resident(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
