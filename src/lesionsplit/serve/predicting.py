"""The thread that has complete series predicted, one at a time, by a process that may crash."""

from __future__ import annotations

import json
import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from lesionsplit.errors import SettingsError
from lesionsplit.serve.instances import Store
from lesionsplit.serve.jobs import MOST_CRASHES, Job, Jobs, State
from lesionsplit.serve.metrics import Metrics
from lesionsplit.serve.settings import ModelSettings

logger = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-m", "lesionsplit.serve.worker")
FIRST_WAIT: Final = 5.0
LONGEST_WAIT: Final = 600.0
"""Seconds between attempts, where a failure is the machine's."""

STARTING: Final = 300.0
"""Seconds in which the model must have been loaded."""


class CrashError(Exception):
    """The process ended, or took too long, and was killed."""


class Worker:
    """The process; started when it is needed, and again after a crash."""

    def __init__(self, settings: ModelSettings, command: Sequence[str] = COMMAND) -> None:
        self.settings, self.command = settings, tuple(command)
        self.weights = ""
        """SHA-256, once the model is loaded."""

        self.threshold = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return bool(self.weights) and self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid if self._process else None

    def start(self, given_up: Callable[[], bool]) -> None:
        """Start the process if it does not run, and wait until the model is loaded.

        Raises:
            SettingsError: the weights or the threshold cannot be used.
            CrashError: it ended, or took too long.
        """
        if self.ready:
            return
        self.kill()
        self._process = subprocess.Popen(  # noqa: S603  our own module
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()
        given = {name: getattr(self.settings, name) for name in ("weights", "threshold", "threads", "memory_gb")}
        answer = self.ask(given, STARTING, given_up)
        if "refused" in answer:
            self.kill()
            raise SettingsError(answer["refused"])
        self.weights, self.threshold = answer["ready"], answer["threshold"]

    def ask(self, question: dict[str, Any], limit: float, given_up: Callable[[], bool]) -> dict[str, Any]:
        """Write a line and wait for its answer.

        Raises:
            CrashError: there is none within ``limit`` seconds, or the process ended, or it is given up.
        """
        process = self._process
        assert process is not None  # noqa: S101  started before
        assert process.stdin is not None  # noqa: S101  a pipe
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except OSError:
            self.kill()
            raise CrashError("the process that predicts had ended") from None
        end = time.monotonic() + limit
        while True:
            try:
                line = self._answers.get(timeout=0.2)
            except queue.Empty:
                if given_up():
                    self.kill()
                    raise CrashError("stopped") from None
                if time.monotonic() > end:
                    self.kill()
                    raise CrashError(f"took longer than {limit:g} s and was stopped") from None
                continue
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            code = process.wait()
            self.kill()
            raise CrashError(f"the process that predicts crashed ({_ending(code)})")

    def kill(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        self._process = None


def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None  # noqa: S101  a pipe
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:  # closed by `kill`
        pass
    answers.put("")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


class Predicting(threading.Thread):
    """Takes complete jobs, the oldest first."""

    def __init__(
        self,
        jobs: Jobs,
        store: Store,
        worker: Worker,
        metrics: Metrics,
        objects: Sequence[str],
        *,
        after: Callable[[Job], None],
    ) -> None:
        """``after`` is called with each job that is predicted."""
        super().__init__(name="predicting", daemon=True)
        self.after = after
        self.jobs, self.store, self.worker, self.metrics = jobs, store, worker, metrics
        self.objects = sorted(set(objects))
        self.draining = threading.Event()
        """Set: nothing more is begun."""

        self.stop = threading.Event()
        """Set: what is under way is given up; it is begun again when the node is."""

        self.unwanted = 0
        """Number of a job that is given up because nobody wants it any more."""

        self.refused = ""
        """Why nothing is predicted: the weights cannot be used, or the process cannot be started."""

    def run(self) -> None:
        """Work until told to stop."""
        while not (self.draining.is_set() or self.stop.is_set()):
            try:
                self._load()
                job = self._next()
                if job is not None:
                    self._one(job)
                    continue
            except Exception:
                logger.exception("the thread that predicts met an unforeseen error and goes on")
                self.draining.wait(1.0)
            with self.jobs.changed:
                self.jobs.changed.wait(0.5)
        if self.stop.is_set():
            self.worker.kill()

    def _load(self) -> None:
        """Load the model before the first series arrives."""
        try:
            self.worker.start(self.stop.is_set)
            self.refused = ""
        except SettingsError as error:
            self._refuse(str(error))
        except CrashError as crash:
            if not self.stop.is_set():
                self._refuse(f"the model could not be loaded: {crash}")
        except OSError as error:
            self._refuse(f"the process that predicts cannot be started ({error.strerror})")

    def _refuse(self, reason: str) -> None:
        """Say once why nothing is predicted, and try again in a while."""
        if self.refused != reason:
            logger.warning("%s", reason)
        self.refused = reason
        self.draining.wait(5.0)

    def _next(self) -> Job | None:
        if not self.worker.ready:
            return None
        now = time.time()
        return next((job for job in self.jobs.having(State.COMPLETE, State.RETRY) if job.due <= now), None)

    def _one(self, job: Job) -> None:
        digest = self.store.fingerprint(job.series, self.worker.weights, f"{self.worker.threshold}", *self.objects)
        started = time.time()
        if not self.jobs.move(
            job.number, [State.COMPLETE, State.RETRY], State.RUNNING, started=started, fingerprint=digest, reason=""
        ):
            return
        running = self.jobs.get(job.number)
        assert running is not None  # noqa: S101  it was just changed
        if job.started is None and (other := self.jobs.earlier(running)):
            reason = f"the same as job {other.number}, which is not done twice"
            self.jobs.move(job.number, [State.RUNNING], State.DONE, ended=time.time(), reason=reason)
            return
        logger.info("job %d: begun", job.number)
        try:
            answer = self.worker.ask(
                {
                    "source": str(self._source(running)),
                    "out": str(self.store.result(running)),
                    "name": job.header.get("description") or f"job {job.number}",
                    "objects": self.objects,
                    "fingerprint": digest,
                    "made": job.completed or started,
                },
                self.worker.settings.limit_s,
                lambda: self.stop.is_set() or self.unwanted == job.number,
            )
        except CrashError as crash:
            self._crashed(running, str(crash))
            return
        seconds = time.time() - started
        self.metrics.predicted(seconds, "error" if "error" in answer else "ok")
        logger.info("job %d: %s after %.1f s", job.number, "failed" if "error" in answer else "predicted", seconds)
        self._answered(running, answer)

    def _source(self, job: Job) -> str:
        folder = self.store.series(job.series)
        scans = sorted(folder.glob("scan*"))
        return str(scans[0] if scans else folder)

    def _answered(self, job: Job, answer: dict[str, Any]) -> None:
        now = time.time()
        if "found" in answer:
            values: dict[str, Any] = {"found": answer["found"], "predicted": now, "crashes": 0, "tries": 0}
            moved = self.jobs.move(job.number, [State.RUNNING], State.PREDICTED, **values)
            if not moved:
                self.store.remove(job, slices=False)  # superseded meanwhile: nobody may see it
            elif (now_is := self.jobs.get(job.number)) is not None:
                self.after(now_is)
        elif "nothing" in answer:
            self.jobs.move(job.number, [State.RUNNING], State.DONE, predicted=now, ended=now, reason=answer["nothing"])
        elif answer["fault"] == "machine":
            self._again(job, answer["error"])
        elif answer["fault"] == "program":
            self._crashed(job, answer["error"])
        else:
            self.jobs.move(job.number, [State.RUNNING], State.FAILED, ended=now, reason=answer["error"])

    def _crashed(self, job: Job, reason: str) -> None:
        if self.stop.is_set():
            self.jobs.move(job.number, [State.RUNNING], State.COMPLETE)
            return
        if self.unwanted == job.number:
            return
        crashes = job.crashes + 1
        logger.warning("job %d: %s", job.number, reason)
        self.metrics.predicted(0.0, "crash")
        if crashes >= MOST_CRASHES:
            why = f"{reason}; {crashes} times, so it is not tried again by itself"
            self.jobs.move(
                job.number, [State.RUNNING], State.QUARANTINED, crashes=crashes, reason=why, ended=time.time()
            )
        else:
            self.jobs.move(job.number, [State.RUNNING], State.RETRY, crashes=crashes, reason=reason)

    def _again(self, job: Job, reason: str) -> None:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**job.tries)
        logger.warning("job %d: %s; again in %.0f s", job.number, reason, wait)
        due = time.time() + wait
        self.jobs.move(job.number, [State.RUNNING], State.RETRY, tries=job.tries + 1, due=due, reason=reason)
