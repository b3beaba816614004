"""A node is killed again and again while series arrive, are predicted and are sent to a real Orthanc.

`python -m tests.reliability.node` at the repository's root; `--docs` puts the table into docs/reliability.md. In each
round five series of a drawn chest are sent by two senders, which send again what was not confirmed. The node (kill -9,
then started again) or its predicting process is killed when a job is in a given state. In the end every series must
have one job that is done and one segmentation, one report and one picture in Orthanc, equal to those of a round without
a kill but for the time. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pydicom
import requests
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from .table import NODE, put_between

ROOT = Path(__file__).parents[2]
STATES = ("receiving", "running", "predicted", "sending")
VICTIMS = ("node", "worker")
SERIES = 5
TIMES = ("Date", "Time")


def _make() -> Any:
    spec = spec_from_file_location("make", ROOT / "tests/volumes/make.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Orthanc:
    """A real PACS in a folder."""

    folder: Path
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        program = next(filter(None, map(shutil.which, ("Orthanc", "/usr/sbin/Orthanc"))), None)
        if program is None:
            sys.exit("Orthanc is not installed (Debian: orthanc, orthanc-dicomweb)")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "StorageDirectory": str(self.folder),
            "IndexDirectory": str(self.folder),
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "HttpPort": self.http,
            "DicomPort": free_port(),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, str(path)], stdout=log, stderr=log)
        while True:
            with suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/system", timeout=2).ok:
                    return
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def take_all(self) -> list[Dataset]:
        """Every object, which is then deleted."""
        found = []
        for uid in requests.get(f"{self.url}/instances", timeout=30).json():
            content = requests.get(f"{self.url}/instances/{uid}/file", timeout=30).content
            path = self.folder / "taken.dcm"
            path.write_bytes(content)
            found.append(pydicom.dcmread(path))
        for uid in requests.get(f"{self.url}/patients", timeout=30).json():
            requests.delete(f"{self.url}/patients/{uid}", timeout=30)
        return found


@dataclass
class Served:
    """A node as a program of its own."""

    folder: Path
    orthanc: Orthanc
    port: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "node.toml"
        settings.write_text(
            f"[dicom]\nport = {self.port}\n[http]\nport = {self.http}\n[series]\nquiet_s = 1.0\n"
            f"[store]\npath = '{self.folder}/store'\nmin_free_gb = 0.01\n[model]\nthreads = 1\n"
            f"[[send]]\nkind = 'stow'\nurl = '{self.orthanc.url}/dicom-web'\nlongest_wait_s = 2.0\n"
        )
        command = [sys.executable, "-m", "lesionsplit.cli", "serve", "--config", str(settings)]
        command[1:3] = ["-c", "from lesionsplit.cli import main; main()"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def kill(self, victim: str) -> bool:
        """Kill the node or the process that predicts; whether there was one."""
        assert self.process is not None
        if victim == "node":
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return True
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
            return True
        tasks = Path(f"/proc/{self.process.pid}/task")
        for task in list(tasks.iterdir()):  # a child belongs to the thread that made it
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
                    return True
        return False

    def states(self) -> Counter[str]:
        """How many jobs are in each state, read beside the running node."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/store/jobs.sqlite?mode=ro", uri=True, timeout=1)) as one:
                return Counter(dict(one.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall()))
        except sqlite3.Error:
            return Counter()

    def jobs(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(f"file:{self.folder}/store/jobs.sqlite?mode=ro", uri=True)) as one:
            return one.execute("SELECT series, state, reason FROM job ORDER BY number").fetchall()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(90)


class Sender(threading.Thread):
    """Sends files one by one, and again until each is confirmed, as a PACS does."""

    def __init__(self, paths: list[Path], port: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.paths, self.port, self.pause = list(paths), port, pause
        self.again = 0

    def run(self) -> None:
        waiting = [pydicom.dcmread(path) for path in self.paths]
        while waiting:
            entity = AE(ae_title="SCANNER")
            entity.add_requested_context(CTImageStorage)
            entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
            association = entity.associate("127.0.0.1", self.port, ae_title="LESIONSPLIT")
            while association.is_established and waiting:
                try:
                    status = int(association.send_c_store(waiting[0]).get("Status", -1))
                except (RuntimeError, ValueError):
                    break
                if status != 0:
                    break
                waiting.pop(0)
                time.sleep(self.pause)
            if association.is_established:
                association.release()
            if waiting:
                self.again += 1
                time.sleep(0.3)


@dataclass
class Round:
    """What came of one round."""

    kills: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    quarantined: int = 0
    seconds: float = 0.0


def one_round(folder: Path, orthanc: Orthanc, series: list[list[Path]], kills: list[tuple[str, str]], rng: Any) -> Any:
    """Send, kill, and wait until everything has ended; returns the round and Orthanc's objects."""
    found, begun = Round(), time.monotonic()
    node = Served(folder, orthanc)
    node.start()
    orders = [[path for one in series for path in rng.sample(one, len(one))] for _ in range(2)]
    rng.shuffle(orders[1])
    senders = [Sender(paths, node.port, pause) for paths, pause in zip(orders, (0.04, 0.06), strict=True)]
    for sender in senders:
        sender.start()
    for victim, state in kills:
        slow = state in ("predicted", "sending")
        if slow:  # else these last for milliseconds
            orthanc.signal(signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while not node.states()[state] and time.monotonic() < deadline:
            time.sleep(0.002)
            counts = node.states()
            if sum(counts.values()) >= len(series) and not sum(counts[one] for one in ("retry", "complete", *STATES)):
                break  # everything has ended
        time.sleep(rng.uniform(0, 0.15))
        was = next((one for one in (state, *STATES) if node.states()[one]), "")
        if was and node.kill(victim):
            found.kills.append((victim, was))
        if slow:
            orthanc.signal(signal.SIGCONT)
        if node.process is not None and node.process.poll() is not None:
            node.start()
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        with suppress(sqlite3.Error, requests.RequestException):
            latest = {one: (state, reason) for one, state, reason in node.jobs()}
            for uid, (state, _) in latest.items():
                if state == "quarantined":  # killed twice by us: a person presses the button
                    answer = requests.post(f"http://127.0.0.1:{node.http}/series/{uid}/retry", timeout=10)
                    found.quarantined += answer.ok
            ended = len(latest) == len(series) and all(state == "done" for state, _ in latest.values())
            if ended and not any(sender.is_alive() for sender in senders):
                break
        time.sleep(0.1)
    time.sleep(2.0)  # a result that is sent twice, or a job that is done twice, would be seen now
    node.stop()
    for uid, (state, reason) in latest.items():
        if state != "done":
            found.faults.append(f"{uid} ended as {state}: {reason}")
    if len(latest) != len(series):
        found.faults.append(f"{len(latest)} of {len(series)} series have a job")
    done = Counter(uid for uid, state, _ in node.jobs() if state == "done")
    found.faults += [f"{uid} was done {count} times" for uid, count in done.items() if count != 1]
    found.seconds = time.monotonic() - begun
    return found, orthanc.take_all()


def essence(data: Dataset) -> str:
    """All of an object but times, and the UIDs that need not be the same."""
    for element in list(data.iterall()):
        if element.VR in ("DA", "TM", "DT"):
            element.value = ""
    data.file_meta = None  # type: ignore[assignment]
    return data.to_json(bulk_data_threshold=1 << 40)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.reliability.node", description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--docs", type=Path, help="a page between whose marks the table is put")
    given = options.parse_args()
    rng = random.Random(given.seed)
    make = _make()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = []
        for number in range(1, SERIES + 1):
            hu = make.chest(seed=number).hu
            series.append(make.make_series(folder / f"ct-{number}", hu=hu, SeriesNumber=number))
        orthanc = Orthanc(folder / "orthanc")
        orthanc.start()
        plain, objects = one_round(folder / "plain", orthanc, series, [], rng)
        expected = Counter(map(essence, objects))
        print(f"without a kill: {len(objects)} objects, {plain.seconds:.0f} s, faults: {plain.faults}", flush=True)
        faults, table, quarantined = list(plain.faults), Counter[tuple[str, str]](), 0
        wanted = [(victim, state) for state in STATES for victim in VICTIMS]
        planned = [wanted[at % len(wanted)] for at in range(given.kills)]
        rng.shuffle(planned)
        rounds, at = 0, 0
        while sum(table.values()) < given.kills and rounds < given.kills:
            kills = planned[at : at + 5] or rng.sample(wanted, 3)
            at, rounds = at + 5, rounds + 1
            found, objects = one_round(folder / f"round-{rounds}", orthanc, series, kills, rng)
            table.update(found.kills)
            quarantined += found.quarantined
            if Counter(map(essence, objects)) != expected:
                found.faults.append(f"Orthanc has {len(objects)} objects, or others than without a kill")
            faults += [f"round {rounds}: {fault}" for fault in found.faults]
            print(f"round {rounds}: {found.seconds:.0f} s, {found.kills}, faults: {found.faults}", flush=True)
        orthanc.stop()
    lines = ["| killed (kill -9) | " + " | ".join(STATES) + " |", "|---" * (len(STATES) + 1) + "|"]
    for victim, words in (("node", "the node"), ("worker", "the process that predicts")):
        lines.append(f"| {words} | " + " | ".join(str(table[victim, state]) for state in STATES) + " |")
    count = sum(table.values())
    lines += [
        "",
        f"{count} kills in {rounds} rounds of {SERIES} series and two senders: no fault. Every series ended as done, "
        "once, and Orthanc had each object once, equal to that of a round without a kill but for the time. "
        f"{quarantined} times a series that had been killed twice was set aside, and tried again by the button."
        if not faults
        else f"{count} kills in {rounds} rounds, faults: {'; '.join(faults)}",
    ]
    text = "\n".join(lines)
    print(text)
    if given.docs:
        put_between(given.docs, text, NODE)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
