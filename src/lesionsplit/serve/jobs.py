"""The jobs of a node, in one SQLite table: each is one version of a series and what became of it.

receiving ── quiet ──> complete ──> running ──> predicted ──> sending ──> done
                          ^            │ the machine's fault: retry, after a while
                          └── retry <──┤ the series' fault: failed, with the reason
                                       └ two crashes: quarantined

A slice that arrives later makes a series receive again. What has not begun goes on with it; a job that runs or is sent
is superseded by a new one. Every change is one transaction that names the states it starts from, so that two threads
never both make it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final


class State(str, Enum):
    """Where a job is."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    RUNNING = "running"
    PREDICTED = "predicted"
    SENDING = "sending"
    DONE = "done"
    RETRY = "retry"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


WAITING: Final = (State.RECEIVING, State.COMPLETE, State.RETRY)
"""Not begun: slices that arrive are added."""

BEGUN: Final = (State.RUNNING, State.PREDICTED, State.SENDING)
ENDED: Final = (State.DONE, State.FAILED, State.QUARANTINED, State.SUPERSEDED, State.CANCELLED)

MOST_CRASHES: Final = 2
"""After which a job is quarantined."""

COLUMNS: Final = {
    "number": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "series": "TEXT NOT NULL",
    "state": "TEXT NOT NULL",
    "instances": "INTEGER NOT NULL DEFAULT 0",
    "slices": "INTEGER NOT NULL DEFAULT 0",
    "header": "TEXT NOT NULL DEFAULT '{}'",
    "words": "TEXT NOT NULL DEFAULT ''",
    "sender": "TEXT NOT NULL DEFAULT ''",
    "fingerprint": "TEXT NOT NULL DEFAULT ''",
    "arrived": "REAL NOT NULL",
    "completed": "REAL",
    "started": "REAL",
    "predicted": "REAL",
    "ended": "REAL",
    "due": "REAL NOT NULL DEFAULT 0",
    "crashes": "INTEGER NOT NULL DEFAULT 0",
    "tries": "INTEGER NOT NULL DEFAULT 0",
    "reason": "TEXT NOT NULL DEFAULT ''",
    "found": "TEXT NOT NULL DEFAULT '{}'",
    "sends": "TEXT NOT NULL DEFAULT '{}'",
}
JSON: Final = ("header", "found", "sends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line of the table."""

    number: int
    series: str
    """SeriesInstanceUID, or ``upload-`` and a hash."""

    state: State
    instances: int
    """Files."""

    slices: int
    """An enhanced multi-frame file has several."""

    header: Mapping[str, str]
    """Patient, study and series, for people and rules."""

    words: str
    """What the search looks at."""

    sender: str
    """AE title of the sender, or ``http``."""

    fingerprint: str
    """SHA-256 of the files, the weights and the settings."""

    arrived: float
    """Of the first slice; seconds since 1970, as all times here."""

    completed: float | None
    started: float | None
    predicted: float | None
    ended: float | None
    due: float
    """Not before."""

    crashes: int
    tries: int
    reason: str
    """Why it failed, waits, or was not predicted."""

    found: Mapping[str, Any]
    """Numbers and notes of the result."""

    sends: Mapping[str, Mapping[str, Any]]
    """What became of each destination."""


class Jobs:
    """The table. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.changed = threading.Condition()
        """Notified after every change."""

        self.version = 0
        """Counts changes."""

        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        with self._lock:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"CREATE TABLE IF NOT EXISTS job ({columns})")
            self._database.execute("CREATE INDEX IF NOT EXISTS by_series ON job (series, number)")
            self._database.execute("CREATE INDEX IF NOT EXISTS by_state ON job (state, due)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def begin(self) -> None:
        """Take up what a stopped node left: what ran is run again, without counting as a crash."""
        self._update("state = ?", [State.COMPLETE], "state = ?", [State.RUNNING])

    # Reading

    def get(self, number: int) -> Job | None:
        """The job of a number."""
        return next(iter(self._select("WHERE number = ?", [number])), None)

    def latest(self, series: str) -> Job | None:
        """The newest job of a series."""
        return next(iter(self._select("WHERE series = ? ORDER BY number DESC LIMIT 1", [series])), None)

    def having(self, *states: State) -> list[Job]:
        """All jobs in some states, the oldest first."""
        marks = ", ".join("?" * len(states))
        return self._select(f"WHERE state IN ({marks}) ORDER BY number", states)

    def search(self, words: str = "", *, limit: int = 200) -> list[Job]:
        """The newest job of each series whose header has all words; the newest first."""
        last = "number IN (SELECT max(number) FROM job GROUP BY series)"
        found = words.split()
        where = " AND ".join([last, *["words LIKE ? ESCAPE '\\'"] * len(found)])
        values = [f"%{_escaped(word)}%" for word in found]
        return self._select(f"WHERE {where} ORDER BY number DESC LIMIT ?", [*values, limit])

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        with self._lock:
            found = dict(self._database.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
        return {state: found.get(state.value, 0) for state in State}

    def earlier(self, job: Job) -> Job | None:
        """Another job that did, or does, exactly the same."""
        states = [*BEGUN, State.DONE]
        marks = ", ".join("?" * len(states))
        where = f"WHERE fingerprint = ? AND number != ? AND state IN ({marks}) LIMIT 1"
        return next(iter(self._select(where, [job.fingerprint, job.number, *states])), None)

    # Changing

    def arrive(self, series: str, *, instances: int, slices: int, header: Mapping[str, str], sender: str) -> Job:
        """Files of a series were added; returns the job that they belong to.

        Args:
            series: of the files.
            instances: files of the series by now.
            slices: slices in them.
            header: of the newest file.
            sender: of the newest file.
        """
        now = time.time()
        with self._transaction():
            job = self.latest(series)
            if job is not None and job.state == State.QUARANTINED:
                self._set(job.number, instances=instances, slices=slices)
                return job
            if job is None or job.state not in WAITING:
                number = self._insert(series, now)
                if job is not None and job.state not in (State.SUPERSEDED, State.CANCELLED):
                    self._set(
                        job.number, state=State.SUPERSEDED, ended=now, reason=f"slices arrived later: job {number}"
                    )
            else:
                number = job.number
            self._set(
                number,
                state=State.RECEIVING,
                instances=instances,
                slices=slices,
                header=header,
                words=_words(series, header),
                sender=sender,
                completed=None,
                due=0.0,
            )
        found = self.get(number)
        assert found is not None  # noqa: S101  it was just written
        return found

    def move(self, number: int, start: Iterable[State], end: State, **values: Any) -> bool:
        """Put a job into another state if it is in one of ``start``; whether it was."""
        start = list(start)
        marks = ", ".join("?" * len(start))
        names = ", ".join(["state = ?", *(f"{name} = ?" for name in values)])
        given = [end, *(_stored(name, value) for name, value in values.items())]
        return self._update(names, given, f"number = ? AND state IN ({marks})", [number, *start]) > 0

    def send_status(self, number: int, destination: str, status: Mapping[str, Any]) -> Job | None:
        """Note what became of a destination; returns the job if it is still to be sent."""
        with self._transaction():
            job = self.get(number)
            if job is None or job.state != State.SENDING:
                return None
            self._set(number, sends={**job.sends, destination: dict(status)})
            return self.get(number)

    def delete(self, numbers: Sequence[int]) -> None:
        """Forget jobs."""
        with self._transaction():
            self._database.executemany("DELETE FROM job WHERE number = ?", [(number,) for number in numbers])

    def vacuum(self) -> None:
        """Overwrite what was deleted: the file must not keep names of patients."""
        with self._lock:
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Inside

    def _insert(self, series: str, now: float) -> int:
        cursor = self._database.execute(
            "INSERT INTO job (series, state, arrived) VALUES (?, ?, ?)", [series, State.RECEIVING.value, now]
        )
        return int(cursor.lastrowid or 0)

    def _set(self, number: int, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        given = [_stored(name, value) for name, value in values.items()]
        self._database.execute(f"UPDATE job SET {names} WHERE number = ?", [*given, number])  # noqa: S608  own names

    def _update(self, names: str, values: Sequence[Any], where: str, given: Sequence[Any]) -> int:
        with self._transaction():
            cursor = self._database.execute(
                f"UPDATE job SET {names} WHERE {where}",  # noqa: S608  own names
                [_plain(value) for value in (*values, *given)],
            )
            return cursor.rowcount

    def _select(self, rest: str, given: Sequence[Any]) -> list[Job]:
        with self._lock:
            rows = self._database.execute(
                f"SELECT {', '.join(COLUMNS)} FROM job {rest}",  # noqa: S608  own names
                [_plain(value) for value in given],
            ).fetchall()
        return [_job(row) for row in rows]

    def _transaction(self) -> _Transaction:
        return _Transaction(self, self._lock, self._database)


class _Transaction:
    """One at a time, written at its end or not at all; those inside another are part of it."""

    def __init__(self, jobs: Jobs, lock: threading.RLock, database: sqlite3.Connection) -> None:
        self._jobs, self._lock, self._database = jobs, lock, database
        self._outer = False

    def __enter__(self) -> None:
        self._lock.acquire()
        self._outer = not self._database.in_transaction
        if self._outer:
            try:
                self._database.execute("BEGIN IMMEDIATE")
            except BaseException:
                self._lock.release()
                raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._outer:
                self._database.execute("COMMIT" if kind is None else "ROLLBACK")
        finally:
            self._lock.release()
        if self._outer and kind is None:
            with self._jobs.changed:
                self._jobs.version += 1
                self._jobs.changed.notify_all()


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, State) else value


def _stored(name: str, value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if name in JSON else _plain(value)


def _job(row: sqlite3.Row) -> Job:
    values = {name: json.loads(row[name]) if name in JSON else row[name] for name in COLUMNS}
    return Job(**{**values, "state": State(values["state"])})


def _words(series: str, header: Mapping[str, str]) -> str:
    """All values of a header, and the date as people write it."""
    date = header.get("date", "")
    return "\n".join([series, f"{date[:4]}-{date[4:6]}-{date[6:]}", *header.values()])


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
