"""A node: its threads, and how they begin and end."""

from __future__ import annotations

import logging
import signal
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn
from filelock import FileLock, Timeout
from pynetdicom.transport import ThreadedAssociationServer

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.serve.completing import Completing
from lesionsplit.serve.dicom_in import listen
from lesionsplit.serve.instances import NoRoomError, Store, private
from lesionsplit.serve.jobs import BEGUN, WAITING, Job, Jobs, State
from lesionsplit.serve.log import silence_libraries
from lesionsplit.serve.metrics import Metrics
from lesionsplit.serve.predicting import COMMAND, Predicting, Worker
from lesionsplit.serve.sending import Sending, finish
from lesionsplit.serve.settings import NodeSettings
from lesionsplit.serve.web.app import application

logger = logging.getLogger(__name__)

DRAINING: Final = 60.0
"""Seconds that the series being predicted has to end, when the node is told to stop."""


class Node:
    """Receives, predicts and sends until it is told to stop."""

    def __init__(self, settings: NodeSettings, command: Sequence[str] = COMMAND) -> None:
        """See `run`.

        Args:
            settings: checked.
            command: starts the process that predicts.

        Raises:
            DataError: the store cannot be used, or another node uses it.
        """
        self.settings = settings
        root = Path(settings.store.path)
        private(root)
        self._lock = FileLock(root / "node.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(f"{root}: another node uses this store; stop it, or choose another path") from None
        self.jobs = Jobs(root / "jobs.sqlite")
        self.store = Store(root, self.jobs, min_free=settings.store.min_free_gb * 1e9)
        self.jobs.begin()
        self.store.reconcile()
        self.metrics = Metrics(self.jobs, self.store.free)
        objects = sorted({kind for one in settings.send for kind in one.objects} or {"seg", "sr", "sc"})
        self.worker = Worker(settings.model, command)
        self.predicting = Predicting(
            self.jobs,
            self.store,
            self.worker,
            self.metrics,
            objects,
            after=lambda job: finish(self.jobs, job, settings.send),
        )
        self.completing = Completing(self.jobs, self.store, settings.series, keep=settings.store.keep_days * 86400)
        self.sending = [
            Sending(self.jobs, self.store, one, self.metrics, all_destinations=settings.send) for one in settings.send
        ]
        self._dicom: ThreadedAssociationServer | None = None
        self._http: uvicorn.Server | None = None
        self._web: threading.Thread | None = None
        self._stopping = threading.Event()
        self.stopped = False
        """Whether `end` was called."""

        for job in self.jobs.having(State.PREDICTED, State.SENDING):  # destinations may have changed
            finish(self.jobs, job, settings.send)

    @property
    def threads(self) -> list[threading.Thread]:
        """All that must live."""
        return [self.predicting, self.completing, *self.sending]

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; then let the series being predicted end, and stop.

        Raises:
            SettingsError: a port cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self.start()
        try:
            while not self._stopping.wait(0.5):
                pass
        finally:
            self.end()

    def start(self) -> None:
        """Begin everything.

        Raises:
            SettingsError: a port cannot be used.
        """
        silence_libraries()
        try:
            self._dicom = listen(self.settings.dicom, self.store, self.metrics)
            self._serve()
        except SettingsError:
            self.end()
            raise
        for thread in self.threads:
            thread.start()
        dicom, http = self.settings.dicom, self.settings.http
        page = f"{'https' if http.tls else 'http'}://{http.bind}:{http.port}/"
        logger.info("receives as %s on port %d; page: %s", dicom.aet, dicom.port, page)

    def _serve(self) -> None:
        http = self.settings.http
        config = uvicorn.Config(
            application(self),
            host=http.bind,
            port=http.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            ssl_certfile=http.tls.cert if http.tls else None,
            ssl_keyfile=http.tls.key if http.tls else None,
            ssl_ca_certs=(http.tls.ca or None) if http.tls else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if http.tls and http.tls.ca else ssl.CERT_NONE,
        )
        server = self._http = uvicorn.Server(config)

        def run() -> None:
            with suppress(SystemExit):  # uvicorn's way to say that the port is taken
                server.run()

        self._web = threading.Thread(target=run, name="http", daemon=True)
        self._web.start()
        while self._web.is_alive() and not server.started:
            time.sleep(0.02)
        if not server.started:
            raise SettingsError(f"[http] {http.bind}:{http.port} cannot be used; is another program using it?")

    def end(self) -> None:
        """Stop: nothing more is taken in, what is predicted may end, and what is left goes on at the next start."""
        self._stopping.set()
        self.stopped = True
        logger.info("stopping")
        if self._dicom is not None:
            self._dicom.shutdown()
        self.completing.stop.set()
        for sending in self.sending:
            sending.stop.set()
        self.predicting.draining.set()
        with self.jobs.changed:
            self.jobs.changed.notify_all()
        if self.predicting.is_alive():
            self.predicting.join(DRAINING)
        self.predicting.stop.set()
        if self._http is not None:
            self._http.should_exit = True
        for thread in (*self.threads, *([self._web] if self._web else [])):
            if thread.is_alive():
                thread.join(10.0)
        self.worker.kill()
        self.jobs.close()
        self._lock.release()
        logger.info("stopped")

    # What the page does

    def retry(self, job: Job) -> bool:
        """Do a job again from its slices; whether its state allows that."""
        start = [State.FAILED, State.QUARANTINED, State.DONE, State.CANCELLED, State.RETRY]
        if job.state not in start or not self.store.series(job.series).is_dir():
            return False
        self.store.remove(job, slices=False)
        if self.predicting.unwanted == job.number:
            self.predicting.unwanted = 0
        return self.jobs.move(
            job.number,
            start,
            State.COMPLETE,
            due=0.0,
            crashes=0,
            tries=0,
            reason="",
            found={},
            sends={},
            ended=None,
            started=None,
            predicted=None,
            completed=time.time(),
        )

    def cancel(self, job: Job) -> bool:
        """Give a job up; whether its state allows that."""
        start = [*WAITING, *BEGUN]
        running = job.state == State.RUNNING
        done = self.jobs.move(job.number, start, State.CANCELLED, ended=time.time(), reason="cancelled by a user")
        if done and running:
            self.predicting.unwanted = job.number
        return done

    # How it is

    def dead(self) -> list[str]:
        """Names of threads that have ended though the node has not."""
        if self._stopping.is_set():
            return []
        return [thread.name for thread in self.threads if not thread.is_alive()]

    def problem(self) -> str:
        """Why the node is not ready; empty if it is."""
        if self._stopping.is_set():
            return "the node is stopping"
        if self.predicting.refused:
            return self.predicting.refused
        if not self.store.has_room:
            return f"less than {self.settings.store.min_free_gb:g} GB are free, so slices are refused"
        return "" if self.worker.ready else "the model is being loaded"

    def check_accepts(self) -> None:
        """Refuse what arrives while the node stops or the disk is full.

        Raises:
            DataError: why.
        """
        if self._stopping.is_set():
            raise NoRoomError("the node is stopping")
        self.store.check_room()
