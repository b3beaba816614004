"""Any number of CT volumes in, a folder of results for each and a table of all out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lesionsplit.cases.decompose import decompose
from lesionsplit.cases.find import Case
from lesionsplit.cases.labels import read_labels
from lesionsplit.engines.base import EngineName
from lesionsplit.errors import DataError, LesionsplitError, NoLungError
from lesionsplit.lungs.find import FoundLungs, find_lungs
from lesionsplit.lungs.given import given_lungs
from lesionsplit.measures.lobes import check_labels
from lesionsplit.measures.measure import measure
from lesionsplit.measures.tables import row
from lesionsplit.memory import give_back_memory, keep_freed_memory
from lesionsplit.predictor import Predictor
from lesionsplit.progress import Progress, silent
from lesionsplit.report.case import Described, write_case
from lesionsplit.report.case_table import CaseTable
from lesionsplit.report.inputs import Outcome
from lesionsplit.report.limits import limits_of
from lesionsplit.report.manifest import Manifests, label_map, whole_or_not
from lesionsplit.report.settings import VolumeSettings
from lesionsplit.volumes.scratch import Scratch, axially_stored
from lesionsplit.volumes.volume import Volume, Voxels

LEFT_OUT = "left out beside it"
"""How notes begin that bear names of files."""


def predict_volumes(
    cases: Sequence[Case],
    out: Path,
    weights: Path | None = None,
    settings: VolumeSettings | None = None,
    *,
    refused: Sequence[str] = (),
    threshold: float | None = None,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    engine: EngineName | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Take volumes apart, one after the other; the next is read while one is worked on.

    A case that cannot be read is said and left out. Rerunning skips what is done.

    Args:
        cases: as `find_cases` finds them.
        out: the folder to write to: OUT/NAME/ for each case, and cases.csv.
        weights: a weights file, by default the one in the package.
        settings: what can be chosen about volumes.
        refused: a line for each input that is no case, for the table.
        threshold: lowest score that counts as lesion, by default the one in the weights.
        overwrite: predict again what is there already.
        device: as for `Predictor.load`.
        threads: of the CPU, by default all.
        engine: as for `Predictor.load`.
        progress: shows how far it is within a case.
        say: is given a line about each case.

    Raises:
        DataError: there is something wrong that concerns all of them.
    """
    settings = settings or VolumeSettings()
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    for given in (settings.lungs, settings.lobes):
        _check_given(given, cases)
    predictor = Predictor.load(weights, device=device, threshold=threshold, engine=engine)
    work = _Work(out, predictor, settings, Manifests(out, predictor, weights, settings), limits_of(weights), progress)
    names = _names(work.manifests, cases)
    todo = [case for case in cases if not work.manifests.has(case, overwrite=overwrite)]
    table = CaseTable(out, masked=settings.outputs.pseudonyms is not None)
    for case, name in zip(cases, names, strict=True):
        if case not in todo:
            table.add(name, work.manifests.row(case))
    for line in refused:
        table.refuse(Path(line.partition(": ")[0]).name, line)
    table.write()  # a folder that cannot be written to is to be known now
    outcome = Outcome(skipped=len(cases) - len(todo))
    for number, (case, scratch, reading) in enumerate(_read_ahead(todo, settings), 1):
        name = work.manifests.name(case)
        if len(todo) > 1 or name != case.name:
            say(f"{number} of {len(todo)}: {name}{f' ({case.where})' if name != case.name else ''}")
        try:
            table.add(name, work.one(case, scratch, reading))
        except (LesionsplitError, OSError) as error:
            outcome.failed += 1
            line = " ".join(str(error).split())
            table.refuse(name, line)
            say(line if str(case.path) in line else f"{case.path}: {line}")
        else:
            outcome.done += 1
        table.write()
    for cells in work.manifests.others(names):
        table.add(cells["name"], cells)
    table.write()
    return outcome


@dataclass(frozen=True, slots=True)
class _Work:
    """What is the same for all cases, and what is done with each."""

    out: Path
    predictor: Predictor
    settings: VolumeSettings
    manifests: Manifests
    limits: tuple[str, ...]
    progress: Progress

    def one(self, case: Case, scratch: Scratch, reading: Future[Volume]) -> dict[str, str]:
        """From a volume that is being read to its files; returns its line in the table."""
        clock = Clock()
        name = self.manifests.name(case)
        with clock("reading"):
            volume = axially_stored(reading.result(), scratch)
            volume = _named(volume, name, masked=self.settings.outputs.pseudonyms is not None)
        with clock("lungs"):
            lungs = self._lungs(case, volume, scratch)
            lobes = self._lobes(case, volume, scratch)
        give_back_memory()
        with clock("lesions"):
            findings = decompose(volume, lungs, self.predictor, scratch, progress=self.progress)
        give_back_memory()
        with clock("numbers"):
            measures = measure(findings, self.settings.measures, lobes)
        described = Described(
            heading=name,
            weights=self.manifests.weights,
            limits=self.limits,
            provenance=self.manifests.provenance(findings),
        )
        with whole_or_not(self.out / name) as folder:
            with clock("writing"):
                write_case(findings, measures, folder, self.settings.outputs, described)
            self.manifests.write(folder, case, findings, clock.seconds, row(measures))
        return row(measures)

    def _lungs(self, case: Case, volume: Volume, scratch: Scratch) -> FoundLungs:
        settings = self.settings
        if settings.lungs is not None:
            return given_lungs(volume, read_labels(_given(settings.lungs, case), volume, scratch), scratch)
        try:
            return find_lungs(
                volume,
                scratch,
                using=settings.lung_method,
                lungmask_weights=settings.lungmask_weights,
                device=str(self.predictor.device),
                progress=self.progress,
            )
        except NoLungError:
            if len(volume.axial()) > 1:
                raise
            nothing = scratch.like(volume, np.uint8)
            return FoundLungs(labels=nothing, how="none found", notes=("no lung in this slice, so no lesion",))

    def _lobes(self, case: Case, volume: Volume, scratch: Scratch) -> Voxels | None:
        if self.settings.lobes is None:
            return None
        path = _given(self.settings.lobes, case)
        lobes = read_labels(path, volume, scratch)
        check_labels(lobes, volume, str(path))
        return lobes


class Clock:
    """Seconds that the stages of a case took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure what is in the block."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 2)


def _read_ahead(cases: Sequence[Case], settings: VolumeSettings) -> Iterator[tuple[Case, Scratch, Future[Volume]]]:
    """Each case with room for its results and the volume, which is being read; the next is begun meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Case, Scratch, Future[Volume]]] = deque()

        def begin(case: Case) -> None:
            scratch = Scratch()
            read = pool.submit(case.read, scratch, intensity=settings.intensity, force=settings.force)
            waiting.append((case, scratch, read))

        try:
            for at, case in enumerate(cases):
                if not waiting:
                    begin(case)
                if at + 1 < len(cases):
                    begin(cases[at + 1])
                here, scratch, read = waiting.popleft()
                with scratch:
                    yield here, scratch, read
        finally:
            for _, scratch, read in waiting:
                read.cancel()
                with scratch:
                    pass


def _named(volume: Volume, name: str, *, masked: bool) -> Volume:
    """The volume under the name that its results go by; without notes that bear names of files, if masked."""
    notes = tuple(note for note in volume.source.notes if not (masked and note.startswith(LEFT_OUT)))
    return replace(volume, source=replace(volume.source, name=name, notes=notes))


def _check_given(given: Path | None, cases: Sequence[Case]) -> None:
    if given is None:
        return
    if not given.exists():
        raise DataError(f"{given}: no such file or folder")
    if given.is_file() and len(cases) > 1:
        raise DataError(f"{given}: is one file for {len(cases)} cases; give a folder with NAME.nii.gz of each")


def _given(given: Path, case: Case) -> Path:
    found = label_map(given, case.name)
    if found is None:
        raise DataError(f"{given}: has no {case.name}.nii.gz; give a label map of every case")
    return found


def _names(manifests: Manifests, cases: Sequence[Case]) -> list[str]:
    """The names that cases go by.

    Raises:
        DataError: two have the same.
    """
    taken: dict[str, Case] = {}
    for case in cases:
        other = taken.setdefault(manifests.name(case), case)
        if other is not case:
            raise DataError(
                f"{case.where} and {other.where} would both be written as {manifests.name(case)}; give them one after "
                "the other, with another --out"
            )
    return list(taken)
