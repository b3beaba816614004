"""`prepare`: scans and what is known of them become a data set for `train`."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from lesionsplit.atomic import atomic_folder, sweep
from lesionsplit.csvtext import csv_text, printable
from lesionsplit.data.table import MASK_PREFIX, TABLE, Split
from lesionsplit.errors import DataError, one_failure
from lesionsplit.images import write_bytes
from lesionsplit.io.case import Case
from lesionsplit.pipeline.fingerprint import content, files_of
from lesionsplit.pipeline.training_set.plan import Planned, identity
from lesionsplit.pipeline.training_set.slices import Choice, Written, write_slices
from lesionsplit.pipeline.training_set.splits import SPLITS, assign, fixed_splits
from lesionsplit.runtime import Runtime
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

SCANS: Final = "scans.csv"
SETTINGS: Final = "prepare.json"
RECORD: Final = "scan.json"

COLUMNS = ("scan", "patient", "split", "status", "normal", "lesion", "reason", "notes")
DONE, FAILED, UNLABELLED = "done", "failed", "no label"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of the scans."""

    done: int
    kept: int
    """Of those done, how many an earlier call had done."""

    failed: int
    unlabelled: int
    slices: Mapping[tuple[str, str], int]
    """By split and label."""


def prepare(
    cases: Sequence[Case],
    known: Mapping[str, Planned],
    out: Path,
    choice: Choice,
    runtime: Runtime,
    *,
    refused: Sequence[str] = (),
    overwrite: bool = False,
    one_label: bool = False,
) -> Prepared:
    """Write the slices of scans, each scan in a folder of its own, `slices.csv` and `scans.csv`.

    A scan that cannot be read is a line and a row of scans.csv. A second call keeps the scans that are done.

    Args:
        cases: the scans.
        known: what is known of each, by its name; others are left out.
        out: the folder to write to.
        choice: which slices, how they are labelled, and the splits.
        runtime: shows progress, and receives a line about each failure.
        refused: a line for each input that is no scan.
        overwrite: begin anew in a folder that was made with other options.
        one_label: allow that all scans have one label.

    Raises:
        DataError: labels or patients contradict each other, or nothing can be written.
    """
    todo = [case for case in cases if case.name in known]
    patients = _patients(todo, known, runtime)
    before = _splits_before(out, choice, overwrite=overwrite)
    given = {case.name: known[case.name].split for case in todo}
    kept = {name: split for name, split in before.items() if name in given}
    given_to = fixed_splits(patients, given)
    before_of = fixed_splits(patients, kept)
    ill = dict.fromkeys(patients.values(), False)
    for case in todo:
        ill[patients[case.name]] |= any(span.label == "lesion" for span in known[case.name].spans)
    _check_labels([known[case.name] for case in todo], choice, one_label=one_label)
    splits = assign(ill, given_to, choice.split, choice.seed)
    if any(splits[patient] != split for patient, split in before_of.items()):  # scans were added, or labels changed
        splits = assign(ill, {**before_of, **given_to}, choice.split, choice.seed)
    write_bytes(out / SETTINGS, _settings(choice))
    sweep(out)
    numbers = {patient: f"patient-{at}" for at, patient in enumerate(dict.fromkeys(patients.values()), 1)}
    table = [{"scan": case.name, "status": UNLABELLED} for case in cases if case.name not in known]
    unlabelled = len(table)
    table += [{"scan": Path(line.partition(": ")[0]).name, "status": FAILED, "reason": line} for line in refused]
    work = _Work(out, choice, overwrite)
    rows: list[dict[str, str]] = []
    voxels: dict[str, Case] = {}
    for case in runtime.progress(todo, len(todo), "Preparing scans"):
        cells = {"scan": case.name, "patient": numbers[patients[case.name]], "split": splits[patients[case.name]]}
        try:
            found = work.one(case, known[case.name])
            twin = voxels.setdefault(found.voxels, case)
            if twin is not case:
                raise DataError(f"{case.where}: has the same voxels as {twin.where}; it is left out")
        except Exception as error:
            line = one_failure(error, case.where)
            runtime.warn(line)
            table.append(cells | {"status": FAILED, "reason": printable(line)})
        else:
            counts = Counter(row["label"] for row in found.rows)
            cells |= {label: str(counts[label]) for label in ("normal", "lesion")}
            table.append(cells | {"status": DONE, "notes": printable("; ".join(found.notes))})
            rows += [row | {"split": cells["split"]} for row in found.rows]
        write_bytes(out / SCANS, csv_text(COLUMNS, table).encode())
    if not rows:
        raise DataError(f"{out}: no slice could be written; {SCANS} says why for each scan")
    masks = sorted({column for row in rows for column in row if column.startswith(MASK_PREFIX)})
    columns = ("image", "label", "split", "series", "lungs", *masks)
    write_bytes(out / TABLE, csv_text(columns, rows).encode())
    return Prepared(
        done=sum(cells["status"] == DONE for cells in table),
        kept=work.kept,
        failed=sum(cells["status"] == FAILED for cells in table),
        unlabelled=unlabelled,
        slices=Counter((row["split"], row["label"]) for row in rows),
    )


class _Work:
    """Reads and writes one scan after the other."""

    def __init__(self, out: Path, choice: Choice, overwrite: bool) -> None:
        self._out = out
        self._choice = choice
        self._overwrite = overwrite
        self.kept = 0

    def one(self, case: Case, known: Planned) -> Written:
        """Write a scan's folder, unless it is there and was made of the same files and labels."""
        folder = self._out / case.name
        stamp = _stamp(case, known, self._choice)
        if not self._overwrite and (found := _read_record(folder, stamp)) is not None:
            self.kept += 1
            return found
        with Scratch() as scratch:
            volume = _read(case, known, scratch, self._choice)
            if folder.is_dir() and (folder / RECORD).is_file():
                shutil.rmtree(folder)
            with atomic_folder(folder) as temporary:
                found = write_slices(temporary, case.name, volume, known, self._choice)
                record = {"stamp": stamp, "voxels": found.voxels, "notes": found.notes, "rows": found.rows}
                write_bytes(temporary / RECORD, json.dumps(record, indent=1).encode())
        return found


def _read(case: Case, known: Planned, scratch: Scratch, choice: Choice) -> Volume:
    wanted = known.intensity or choice.intensity
    if wanted != "either":
        return case.read(scratch, ReadOptions(intensity="grey" if wanted == "8-bit" else wanted))
    try:
        return case.read(scratch)
    except DataError as error:
        with suppress(DataError):
            return case.read(scratch, ReadOptions(intensity="grey"))
        raise error from None


def _stamp(case: Case, known: Planned, choice: Choice) -> str:
    """What a scan's slices were made of: its files, labels, masks and lungs, and the options."""
    options = msgspec.structs.replace(choice, split=(0, 0, 0), seed=0)  # splits are not in the scan's folder
    maps = {name: content([path]) for name, path in sorted(known.masks.items())}
    maps |= {name: content([path]) for name, path in (("", known.lungs), ("xml", known.contours)) if path}
    spans = [(one.label, one.first, one.last) for one in known.spans]
    return json.dumps(
        [
            content(files_of(case.entries)),
            spans,
            maps,
            known.values,
            known.intensity,
            msgspec.to_builtins(options),
        ]
    )


def _read_record(folder: Path, stamp: str) -> Written | None:
    """What an earlier call wrote of the same files, if all of it is there."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads((folder / RECORD).read_bytes())
        files = [row[key] for row in record["rows"] for key in row if key not in ("label", "series")]
        if record["stamp"] == stamp and all((folder.parent / file).is_file() for file in files):
            return Written(record["rows"], record["voxels"], tuple(record["notes"]))
    return None


def _patients(cases: Sequence[Case], known: Mapping[str, Planned], runtime: Runtime) -> dict[str, str]:
    """The patient of each scan: as given, or the PatientID; otherwise each scan is a patient of its own.

    Raises:
        DataError: scans of one PatientID are given as several patients.
    """
    found: dict[str, str] = {}
    alone = 0
    given_as: dict[str, tuple[str, str]] = {}
    for case in cases:
        given, number = known[case.name].patient, identity(case)[1]
        if given and number:
            other, scan = given_as.setdefault(number, (given, case.name))
            if other != given:
                raise DataError(
                    f"{known[case.name].place}: {case.name} is of patient {given!r} and {scan} of {other!r}, but both "
                    "have the same PatientID; give one patient, so that no patient is in two splits"
                )
        alone += not given and not number
        found[case.name] = f"given {given}" if given else f"number {number}" if number else f"scan {case.name}"
    given_to = {f"number {number}": f"given {given}" for number, (given, _) in given_as.items()}
    if alone:
        runtime.warn(
            f"{alone} of {len(cases)} scans name no patient, so each counts as one of its own; if patients have "
            "several, add a column patient"
        )
    return {name: given_to.get(patient, patient) for name, patient in found.items()}


def _check_labels(known: Sequence[Planned], choice: Choice, *, one_label: bool) -> None:
    if not known:
        raise DataError("no scan has a label; name the scans in the column scan as they are called")
    labels = {span.label for one in known for span in one.spans}
    if choice.labels_from is None and len(labels) == 1 and not one_label:
        only = labels.pop()
        other = "normal" if only == "lesion" else "lesion"
        raise DataError(
            f"all {len(known)} scans are labelled {only!r}; training compares normal with lesion: add scans that are "
            f"{other}, or ranges of slices, or take labels from masks (--labels-from); --one-label continues anyway"
        )


def _settings(choice: Choice) -> bytes:
    said: dict[str, Any] = {"lesionsplit": version("lesionsplit"), **msgspec.to_builtins(choice)}
    used = [name for name in (choice.labels_from, choice.drop_unseen) if name]
    said["supervision"] = f"masks of {', '.join(used)} chose slices or labels" if used else "labels of scans only"
    return json.dumps(said, indent=1).encode()


def _splits_before(out: Path, choice: Choice, *, overwrite: bool) -> dict[str, Split]:
    """The split of each scan that an earlier call with the same options wrote, which is kept.

    Raises:
        DataError: the folder was made with other options, or holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(_visible(out))):
        return {}
    try:
        found = json.loads((out / SETTINGS).read_bytes())
        changed = [key for key, value in json.loads(_settings(choice)).items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError):
        raise DataError(f"{out}: exists and is not a folder of lesionsplit prepare; name a new folder") from None
    if overwrite:
        return {}
    if changed:
        raise DataError(
            f"{out}: was made with different settings: {', '.join(changed)}; choose another folder, or --overwrite"
        )
    with suppress(OSError, UnicodeDecodeError, csv.Error), (out / SCANS).open(newline="", encoding="utf-8") as file:
        return {row["scan"]: row["split"] for row in csv.DictReader(file) if row.get("split") in SPLITS}  # type: ignore[misc]
    return {}


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))
