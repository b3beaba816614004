"""Counts and times for Prometheus; never a name or an identifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lesionsplit.serve.jobs import Jobs

SECONDS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The numbers of one node."""

    def __init__(self, jobs: Jobs, free: Callable[[], int]) -> None:
        self._jobs = jobs
        self._registry = CollectorRegistry()
        registry = self._registry
        self._instances = Counter("lesionsplit_instances", "Objects that arrived", ["outcome"], registry=registry)
        self._predictions = Counter("lesionsplit_predictions", "Predictions", ["outcome"], registry=registry)
        self._seconds = Histogram("lesionsplit_prediction_seconds", "Of a series", buckets=SECONDS, registry=registry)
        labels = ["destination", "outcome"]
        self._sends = Counter("lesionsplit_sends", "Attempts to send a result", labels, registry=registry)
        self._states = Gauge("lesionsplit_jobs", "Jobs by state", ["state"], registry=registry)
        Gauge("lesionsplit_free_bytes", "Of the store's disk", registry=registry).set_function(free)

    def arrived(self, outcome: str) -> None:
        """An object arrived: ``stored``, ``ignored``, ``refused``, ``conflict`` or ``no room``."""
        self._instances.labels(outcome).inc()

    def predicted(self, seconds: float, outcome: str) -> None:
        """A prediction ended: ``ok``, ``error`` or ``crash``."""
        self._predictions.labels(outcome).inc()
        if outcome == "ok":
            self._seconds.observe(seconds)

    def sent(self, destination: str, outcome: str) -> None:
        """An attempt to send ended: ``ok`` or ``error``."""
        self._sends.labels(destination, outcome).inc()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        for state, count in self._jobs.counts().items():
            self._states.labels(state.value).set(count)
        return generate_latest(self._registry)
