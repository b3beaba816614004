"""Threads that send results, one for each destination, so that an archive that is down delays no other."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context
from requests.adapters import HTTPAdapter

from lesionsplit.errors import LesionsplitError
from lesionsplit.pipeline.options import FILES
from lesionsplit.serve.instances import Store
from lesionsplit.serve.jobs import Job, Jobs, State
from lesionsplit.serve.metrics import Metrics
from lesionsplit.serve.settings import SendSettings, Tls

logger = logging.getLogger(__name__)

FIRST_WAIT: Final = 5.0
"""Seconds after the first failed attempt; each next wait is twice as long."""


class SendError(LesionsplitError):
    """The destination did not take everything."""


class Sending(threading.Thread):
    """Sends what is predicted to one destination."""

    def __init__(
        self,
        jobs: Jobs,
        store: Store,
        destination: SendSettings,
        metrics: Metrics,
        *,
        all_destinations: Sequence[SendSettings],
    ) -> None:
        super().__init__(name=f"sending to {destination.label}", daemon=True)
        self.jobs, self.store, self.destination, self.metrics = jobs, store, destination, metrics
        self.all_destinations = all_destinations
        self.stop = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self.stop.is_set():
            try:
                job = self._next()
                if job is not None:
                    self._one(job)
                    continue
            except Exception:
                logger.exception("sending to %s met an unforeseen error and goes on", self.destination.label)
                self.stop.wait(5.0)
            with self.jobs.changed:
                self.jobs.changed.wait(0.5)

    def _next(self) -> Job | None:
        now, label = time.time(), self.destination.label
        for job in self.jobs.having(State.PREDICTED, State.SENDING):
            status = job.sends.get(label, {})
            if wanted(self.destination, job) and not status.get("ended") and status.get("due", 0) <= now:
                return job
        return None

    def _one(self, job: Job) -> None:
        label = self.destination.label
        self.jobs.move(job.number, [State.PREDICTED], State.SENDING)
        status = dict(job.sends.get(label, {}))
        status["since"] = status.get("since") or time.time()
        try:
            send(self.destination, self._files(job))
        except Exception as error:
            self.metrics.sent(label, "error")
            status["tries"] = status.get("tries", 0) + 1
            status["reason"] = _why(error)
            wait = min(self.destination.longest_wait_s, FIRST_WAIT * 2 ** (status["tries"] - 1))
            status["due"] = time.time() + wait
            if time.time() - status["since"] > self.destination.give_up_h * 3600:
                status["ended"] = time.time()
            else:
                logger.warning("job %d: %s: %s; again in %.0f s", job.number, label, status["reason"], wait)
        else:
            self.metrics.sent(label, "ok")
            logger.info("job %d: sent to %s", job.number, label)
            status |= {"ended": time.time(), "sent": True, "reason": ""}
        if (job := self.jobs.send_status(job.number, label, status)) is not None:  # type: ignore[assignment]
            finish(self.jobs, job, self.all_destinations)

    def _files(self, job: Job) -> list[Path]:
        folder, kinds = self.store.result(job), job.found.get("kinds", ())
        return [folder / FILES[kind] for kind in self.destination.objects if kind in kinds]


def wanted(destination: SendSettings, job: Job) -> bool:
    """Whether a destination gets the result of a job."""
    return not destination.calling_aets or job.sender in destination.calling_aets


def finish(jobs: Jobs, job: Job, destinations: Sequence[SendSettings]) -> None:
    """End a job if every destination has ended."""
    statuses = [job.sends.get(one.label, {}) for one in destinations if wanted(one, job)]
    if not all(status.get("ended") for status in statuses):
        return
    start = [State.PREDICTED, State.SENDING]
    failed = [status["reason"] for status in statuses if not status.get("sent")]
    if failed:
        jobs.move(job.number, start, State.FAILED, ended=time.time(), reason=f"could not be sent: {failed[0]}")
    else:
        jobs.move(job.number, start, State.DONE, ended=time.time(), reason="")


def send(destination: SendSettings, paths: Sequence[Path]) -> None:
    """Send DICOM files.

    Raises:
        SendError: not all were taken.
        Exception: of the libraries that send; of many types.
    """
    datasets = [pydicom.dcmread(path) for path in paths]
    if not datasets:
        return
    if destination.kind == "stow":
        _stow(destination, datasets)
    else:
        _cstore(destination, datasets)


def _stow(destination: SendSettings, datasets: Sequence[Dataset]) -> None:
    session = requests.Session()
    session.trust_env = False
    if destination.token:
        session.headers["Authorization"] = f"Bearer {destination.token}"
    if destination.user:
        session.auth = (destination.user, destination.password)
    if destination.ca:
        session.verify = destination.ca
    adapter = _WithTimeout(destination.timeout_s)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    with session:
        client = DICOMwebClient(destination.url, session=session)
        client.set_http_retry_params(retry=False)
        answer = client.store_instances(datasets)
    taken = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence", ())}
    for item in answer.get("FailedSOPSequence", ()):
        raise SendError(f"refused an object (failure reason 0x{int(item.get('FailureReason', 0)):04X})")
    if len(taken & {str(one.SOPInstanceUID) for one in datasets}) < len(datasets):
        raise SendError("did not confirm every object")


class _WithTimeout(HTTPAdapter):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        return super().send(request, *args, **{**options, "timeout": self._seconds})


def _cstore(destination: SendSettings, datasets: Sequence[Dataset]) -> None:
    entity = AE(ae_title="LESIONSPLIT")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = destination.timeout_s
    entity.connection_timeout = destination.timeout_s
    kinds = {str(one.SOPClassUID) for one in datasets}
    entity.requested_contexts = [build_context(kind, [ExplicitVRLittleEndian]) for kind in sorted(kinds)]
    tls = (client_context(destination.tls), destination.host) if destination.tls else None
    association = entity.associate(destination.host, destination.port, ae_title=destination.aet, tls_args=tls)
    if not association.is_established:
        raise SendError("refused the association" if association.is_rejected else "cannot be reached")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset)
            code = int(status.get("Status", -1))
            if code == -1:
                raise SendError("closed the association")
            if code and code & 0xF000 != 0xB000:  # warnings are stored
                raise SendError(f"refused an object (status 0x{code:04X})")
    finally:
        association.release()


def client_context(tls: Tls) -> ssl.SSLContext:
    """What a sender shows, and whom it trusts."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca or None)
    context.load_cert_chain(tls.cert, tls.key)
    return context


def _why(error: Exception) -> str:
    """One line without what identifies a patient: the text of a server's answer may hold a header."""
    if isinstance(error, SendError):
        return str(error)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return f"gave an answer that cannot be read ({type(error).__name__})"
