"""What the page shows of a job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lesionsplit.serve.jobs import BEGUN, Job, State

WORDS = {
    State.RECEIVING: "receiving",
    State.COMPLETE: "waiting",
    State.RUNNING: "predicting",
    State.PREDICTED: "predicted",
    State.SENDING: "sending",
    State.DONE: "done",
    State.RETRY: "waits to try again",
    State.FAILED: "failed",
    State.QUARANTINED: "set aside",
    State.SUPERSEDED: "superseded",
    State.CANCELLED: "cancelled",
}
"""States in the words of the page."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table, all of it text."""

    series: str
    kind: str
    """``busy``, ``good``, ``bad`` or ``quiet``."""

    state: str
    patient: str
    study: str
    description: str
    arrived: str
    took: str
    found: str
    reason: str
    notes: Sequence[str]
    has_report: bool
    can_retry: bool
    can_cancel: bool


def row_of(job: Job, *, has_report: bool) -> Row:
    """The line of a job."""
    header = job.header
    return Row(
        series=job.series,
        kind=_kind(job),
        state="no result" if job.state == State.DONE and not job.found else WORDS[job.state],
        patient=" · ".join(filter(None, (_name(header.get("patient", "")), header.get("patient_id", "")))),
        study=" · ".join(filter(None, (_date(header.get("date", "")), header.get("accession", "")))),
        description=_described(job),
        arrived=datetime.fromtimestamp(job.arrived).strftime("%Y-%m-%d %H:%M"),
        took=_took(job),
        found=found_of(job),
        reason=_reason(job),
        notes=tuple(job.found.get("notes", ())),
        has_report=has_report,
        can_retry=job.state in (State.FAILED, State.QUARANTINED, State.DONE, State.CANCELLED, State.RETRY),
        can_cancel=job.state in (State.RECEIVING, State.COMPLETE, State.RETRY, *BEGUN),
    )


def found_of(job: Job) -> str:
    """The main numbers of a result."""
    numbers = job.found.get("numbers", {})
    ml, share, count = (numbers.get(name) for name in ("lesion_ml", "opacity_percent", "lesions"))
    if not numbers:
        return ""
    if not count:
        return "no lesion"
    parts = [f"{ml:.1f} mL" if ml is not None else "", f"{share:.1f} % of the lungs" if share is not None else ""]
    parts.append(f"{count:.0f} lesion{'s' if count != 1 else ''}")
    return ", ".join(filter(None, parts))


def _kind(job: Job) -> str:
    if job.state == State.DONE:
        return "good" if job.found else "quiet"
    if job.state in (State.FAILED, State.QUARANTINED):
        return "bad"
    return "quiet" if job.state in (State.SUPERSEDED, State.CANCELLED) else "busy"


def _described(job: Job) -> str:
    title = job.header.get("description") or job.header.get("study_description") or "series without description"
    count = f"{job.slices} slice{'s' if job.slices != 1 else ''}" if job.slices else ""
    return " · ".join(filter(None, (title, count)))


def _reason(job: Job) -> str:
    waiting = [f"{name}: {one['reason']}" for name, one in job.sends.items() if one.get("reason")]
    if job.state == State.SENDING and waiting:
        return "; ".join(waiting)
    return job.reason


def _took(job: Job) -> str:
    if job.started is None:
        return ""
    end = job.predicted or (time.time() if job.state == State.RUNNING else None)
    return "" if end is None or end < job.started else f"{end - job.started:.0f} s"


def _name(name: str) -> str:
    return ", ".join(part for part in name.split("^") if part)


def _date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) == 8 and date.isdigit() else date
