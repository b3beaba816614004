"""The thread that decides when a series is complete and whether it is predicted, and that deletes what is old."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from lesionsplit.serve.instances import Store
from lesionsplit.serve.jobs import ENDED, Job, Jobs, State
from lesionsplit.serve.settings import SeriesSettings

logger = logging.getLogger(__name__)

TICK: Final = 0.25
CLEANING: Final = 60.0
"""Seconds between looks for what is old."""


class Completing(threading.Thread):
    """Declares series complete after a quiet time, which starts anew when the node does."""

    def __init__(
        self,
        jobs: Jobs,
        store: Store,
        settings: SeriesSettings,
        *,
        keep: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``keep``: seconds after which ended jobs are deleted."""
        super().__init__(name="completing", daemon=True)
        self.jobs, self.store, self.settings, self.keep, self.clock = jobs, store, settings, keep, clock
        self.stop = threading.Event()
        self._seen: dict[int, tuple[int, float]] = {}
        """Files of each job that receives, and when that number was first seen."""

        self._whole: set[str] = set()

    def run(self) -> None:
        """Work until told to stop."""
        cleaned = -CLEANING
        while not self.stop.wait(TICK):
            try:
                self.look()
                if self.clock() - cleaned >= CLEANING:
                    cleaned = self.clock()
                    self.clean()
            except Exception:  # noqa: PERF203  each round stands alone
                logger.exception("the thread that completes series met an unforeseen error and goes on")

    def hurry(self, series: Iterable[str]) -> None:
        """These came as a whole: they are complete without a quiet time, unless more arrives at once."""
        self._whole.update(series)

    def look(self) -> None:
        """Complete what has been quiet for long enough."""
        now, receiving = self.clock(), self.jobs.having(State.RECEIVING)
        self._seen = {job.number: self._seen.get(job.number, (-1, now)) for job in receiving}
        for job in receiving:
            count, since = self._seen[job.number]
            if count != job.instances:
                self._seen[job.number] = (job.instances, now)
            elif job.series in self._whole or now - since >= self.settings.quiet_s:
                self._whole.discard(job.series)
                self._complete(job, receiving)

    def clean(self) -> None:
        """Delete jobs that ended long ago, with their slices and results."""
        end = time.time() - self.keep
        old = [job for job in self.jobs.having(*ENDED) if (job.ended or job.arrived) < end]
        for job in old:
            latest = self.jobs.latest(job.series)
            self.store.remove(job, slices=latest is None or latest.number == job.number)
        if old:
            self.jobs.delete([job.number for job in old])
            self.jobs.vacuum()
            logger.info("%d jobs deleted: older than %g days", len(old), self.keep / 86400)

    def _complete(self, job: Job, receiving: list[Job]) -> None:
        now = time.time()
        reason = why_not(job, self.settings)
        study = job.header.get("study")
        if not reason and self.settings.one_per_study and study:
            if any(one.header.get("study") == study and self._is_new(one) for one in receiving):
                return  # which one is chosen depends on those that still arrive
            reason = self._other_is_chosen(job, study)
        if reason:
            reason = f"not predicted: {reason}"
            self.jobs.move(job.number, [State.RECEIVING], State.DONE, completed=now, ended=now, reason=reason)
        else:
            self.jobs.move(job.number, [State.RECEIVING], State.COMPLETE, completed=now)

    def _is_new(self, job: Job) -> bool:
        return self.clock() - self._seen[job.number][1] < self.settings.quiet_s

    def _other_is_chosen(self, job: Job, study: str) -> str:
        waiting = [one for one in self.jobs.having(State.RECEIVING) if one.header.get("study") == study]
        rivals = [one for one in waiting if not why_not(one, self.settings)]
        sign = 1 if self.settings.one_per_study == "thinnest" else -1
        best = min(rivals, key=lambda one: (sign * (thickness(one) or 1e9 * sign), -one.slices, one.number))
        if best.number == job.number:
            return ""
        return f"the {self.settings.one_per_study} series of its study is job {best.number}"


def why_not(job: Job, settings: SeriesSettings) -> str:
    """Why a series is not predicted; empty if it is."""
    if job.header.get("modality") == "file":
        return ""
    described = job.header.get("description", "")
    if job.slices < settings.min_slices:
        return f"{job.slices} slices; min_slices is {settings.min_slices}"
    if settings.max_thickness_mm and (mm := thickness(job)) and mm > settings.max_thickness_mm:
        return f"slices of {mm:g} mm; max_thickness_mm is {settings.max_thickness_mm:g}"
    if settings.description and not re.search(settings.description, described, re.IGNORECASE):
        return f"the series description does not have {settings.description!r}"
    if settings.not_description and re.search(settings.not_description, described, re.IGNORECASE):
        return f"the series description has {settings.not_description!r}"
    if settings.kernel and not re.search(settings.kernel, job.header.get("kernel", ""), re.IGNORECASE):
        return f"the kernel does not have {settings.kernel!r}"
    return ""


def thickness(job: Job) -> float:
    """Of the slices in mm; 0 where it is not stated."""
    try:
        return float(job.header.get("thickness", 0))
    except ValueError:
        return 0.0
