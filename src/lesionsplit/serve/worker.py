"""The process that predicts: one job after the other with a loaded model. It ends when the node does.

It reads a JSON object a line from its standard input, first its settings, then jobs, and answers each with one line.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lesionsplit.atomic import atomic_folder
from lesionsplit.errors import LesionsplitError, NoLungError, OutputError, one_line, out_of_memory
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.scan import SliceImage, open_scan
from lesionsplit.runtime import Runtime
from lesionsplit.serve.log import silence_libraries
from lesionsplit.volumes.scratch import Scratch

SUMMARY: Final = "node.json"
"""In a folder of results: what the node shows of it. It is there if and only if the result is whole."""

ALWAYS: Final = ("lesion", "numbers", "page")
"""Files that each result has beside the objects that are sent."""


def main() -> None:
    """Answer until standard input ends; then end at once, whatever is under way."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # the node has ended, perhaps killed: nobody waits for what is being done

    threading.Thread(target=read, daemon=True).start()
    silence_libraries()
    settings = json.loads(lines.get())
    limit_memory(settings["memory_gb"])
    try:
        predictor = Predictor.load(
            settings["weights"],
            threshold=settings["threshold"],
            runtime=Runtime(device="cpu", threads=settings["threads"] or None),
        )
        answer: dict[str, Any] = {"ready": predictor.weights, "threshold": predictor.threshold}
    except Exception as error:
        answer = {"refused": one_line(error)}
    print(json.dumps(answer), file=answers)
    while "refused" not in answer:
        print(json.dumps(work(predictor, json.loads(lines.get()))), file=answers)


def work(predictor: Predictor, job: dict[str, Any]) -> dict[str, Any]:
    """Predict one series and write its result; returns what the node needs to know.

    Args:
        predictor: the model.
        job: ``source``, ``out``, ``name``, ``objects``, ``fingerprint`` and ``made``, seconds since 1970.

    Returns:
        ``found``, the summary of the result; or ``nothing`` with the reason; or ``error`` with the reason and
        ``fault``: ``series``, ``machine`` or ``program``.
    """
    os.environ["SOURCE_DATE_EPOCH"] = str(int(job["made"]))  # a job that is begun again has the same bits
    try:
        return {"found": predict(predictor, job)}
    except NoLungError as error:
        return {"nothing": _reason(error, job["source"])}
    except Exception as error:
        disk = isinstance(error, OSError) or (isinstance(error, OutputError) and error.disk)
        if disk or out_of_memory(error):
            fault = "machine"
        else:
            fault = "series" if isinstance(error, LesionsplitError) else "program"
        return {"error": _reason(error, job["source"]), "fault": fault}


def _reason(error: Exception, source: str) -> str:
    """A line about an error, without the path in the store, which tells nobody anything."""
    return one_line(error).removeprefix(f"{source}: ").replace(source, "the series")


def predict(predictor: Predictor, job: dict[str, Any]) -> dict[str, Any]:
    """The result of one job in its folder; returns its summary."""
    out = Path(job["out"])
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        if found["fingerprint"] == job["fingerprint"]:
            return found  # a node that was killed had come so far
    shutil.rmtree(out, ignore_errors=True)
    options = PredictOptions()
    with Scratch() as scratch:
        volume = open_scan(job["source"], scratch, options)
        if isinstance(volume, SliceImage):
            raise NoLungError("is an image of one slice, not a volume")
        volume = replace(volume, source=replace(volume.source, name=job["name"]))
        result = predictor.predict_volume(volume, scratch, options)
        kinds = [kind for kind in result.kinds if kind in (*ALWAYS, *job["objects"])]
        summary = {
            "fingerprint": job["fingerprint"],
            "numbers": dict(result.numbers),
            "notes": list(result.notes),
            "kinds": kinds,
        }
        with atomic_folder(out) as folder:
            result.save(folder, kinds)
            (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    return summary


def limit_memory(gigabytes: float) -> None:
    """Let an allocation fail rather than the machine, where the system can do that."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        if gigabytes:
            resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9),) * 2)


if __name__ == "__main__":
    main()
