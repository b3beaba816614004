"""Any number of CT volumes to a folder of results each, and a table of all."""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lesionsplit.atomic import cannot_lock, rename, sweep
from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError, LesionsplitError, OutputError, SettingsError, one_failure
from lesionsplit.io.case import Case
from lesionsplit.io.dicom.deidentify import without_words
from lesionsplit.io.label_maps import label_map
from lesionsplit.measurements.tables import row
from lesionsplit.pipeline.case_folder import DamagedManifestError, whole_or_not
from lesionsplit.pipeline.case_table import DONE, INCOMPLETE, CaseTable
from lesionsplit.pipeline.clock import Clock
from lesionsplit.pipeline.inputs import Outcome
from lesionsplit.pipeline.manifest import Manifests
from lesionsplit.pipeline.options import PredictOptions, UserMask
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

logger = logging.getLogger(__name__)

LEFT_OUT = "left out beside it"
"""How notes begin that contain names of files."""


def predict_volumes(
    cases: Sequence[Case],
    out: Path,
    predictor: Predictor,
    options: PredictOptions | None = None,
    *,
    refused: Sequence[str] = (),
    overwrite: bool = False,
) -> Outcome:
    """Predict volumes, one after the other; the next is read while one is worked on.

    A case that cannot be read is reported and left out. A second call skips what is done.

    Args:
        cases: as `find_cases` finds them.
        out: the folder to write to: OUT/NAME/ for each case, and cases.csv.
        predictor: the model; its runtime receives a line about each case.
        options: what can be chosen about volumes.
        refused: a line for each input that is not a case, for the table.
        overwrite: predict again what is there already.

    Raises:
        DataError: something is wrong that concerns all cases.
    """
    options = options or PredictOptions()
    say = predictor.runtime.say
    for given in (options.lungs, options.lobes):
        _check_given(given, cases)
    work = _Work(out, predictor, options, Manifests(out, predictor, options), overwrite)
    table = CaseTable(out, masked=options.deidentified)
    outcome = Outcome()

    def fail(case: Case, error: Exception, name: str = "") -> None:
        outcome.failed += 1
        outcome.unusable += isinstance(error, SettingsError)
        line = one_failure(error, str(case.path))
        table.refuse(name or case.name, line, pseudonym=bool(name))
        predictor.runtime.warn(line)

    done = dict(_planned(work, cases, fail))
    names = _names(work.manifests, list(done))
    todo = [case for case in done if not done[case]]
    for case, name in zip(done, names, strict=True):
        if done[case]:
            table.add(name, work.manifests.row(case))
    for line in refused:
        table.refuse(Path(line.partition(": ")[0]).name, line)
    table.begin(work.manifests.others(names))  # fails early where the folder cannot be written to
    if line := cannot_lock(out):
        predictor.runtime.warn(line)
    sweep(Path(tempfile.gettempdir()))  # what a killed process left there, also where nothing is to be done
    outcome.skipped = len(done) - len(todo)
    for number, (case, begun) in enumerate(_read_ahead(todo, options), 1):
        name = work.manifests.name(case)
        if len(todo) > 1 or name != case.name:
            say(f"{number} of {len(todo)}: {name}{f' ({case.where})' if name != case.name else ''}")
        try:
            cells = work.one(case, *begun.result())
        except Exception as error:
            fail(case, error, name)
        else:
            table.add(name, cells)
            complete = table.rows[name]["status"] == DONE
            outcome.done += complete
            outcome.failed += not complete
        table.write()
    return outcome


@dataclass(frozen=True, slots=True)
class _Work:
    """What all cases share, and what is done with each."""

    out: Path
    predictor: Predictor
    options: PredictOptions
    manifests: Manifests
    overwrite: bool

    def one(self, case: Case, scratch: Scratch, reading: Future[Volume]) -> dict[str, str]:
        """From a volume that is being read to its files; returns its line in the table."""
        clock = Clock()
        name = self.manifests.name(case)
        with clock("reading"):
            volume = _named(reading.result(), name, case if self.options.deidentified else None)
        options = self.options.changed(
            lungs=_of_case(self.options.lungs, case), lobes=_of_case(self.options.lobes, case)
        )
        result = self.predictor.predict_volume(volume, scratch, options, clock)
        kinds = [kind for kind in result.kinds if kind in options.kinds]
        if not kinds:
            raise DataError("no lung was found, so there is no parametric map to write; ask for other files")
        cells = row(result.measurements) | dict(result.origin.identifiers)
        check = (lambda: None) if self.overwrite else partial(self.manifests.check, case)
        with whole_or_not(self.out / name, check) as folder:
            try:
                with clock("writing"):
                    result.save(folder, kinds)
            except OutputError as error:
                rename(error, folder, self.out / name)
                if not any(folder.iterdir()) or (error.disk and (self.out / name).exists()):
                    raise DataError(str(error)) from None
                cells |= {"status": INCOMPLETE, "reason": self._missing(case, error)}
            self.manifests.write(folder, case, result, clock.seconds, cells)
        logger.info("%s: %s", name, ", ".join(f"{stage} {seconds} s" for stage, seconds in clock.seconds.items()))
        return cells

    def _missing(self, case: Case, error: OutputError) -> str:
        """Report the files that a case lacks; returns the reason for the table."""
        self.predictor.runtime.warn(f"{case.path}: {error}; the other files are written")
        if self.options.deidentified:
            return "; ".join(f"{name} is missing" for name in error.failed)
        return printable(str(error))


def _planned(
    work: _Work, cases: Sequence[Case], fail: Callable[[Case, Exception], None]
) -> Iterator[tuple[Case, bool]]:
    """Each case, and whether it is done; those whose files have gone, or whose manifest is damaged, are reported.

    Raises:
        DataError: the folder holds other results.
    """
    for case in cases:
        try:
            yield case, work.manifests.has(case, overwrite=work.overwrite)
        except DamagedManifestError as error:  # noqa: PERF203  a line for each case
            fail(case, error)
        except LesionsplitError:
            raise
        except Exception as error:
            fail(case, error)


def _read_ahead(
    cases: Sequence[Case], options: PredictOptions
) -> Iterator[tuple[Case, Future[tuple[Scratch, Future[Volume]]]]]:
    """Each case with room for its results and the volume, which is being read; the next is begun meanwhile.

    Where no room can be made for a case, its own future has the error.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Scratch, Future[Volume]]] = deque()

        def begin(case: Case) -> None:
            scratch = Scratch()
            waiting.append((scratch, pool.submit(case.read, scratch, options.reading)))

        try:
            for at, case in enumerate(cases):
                begun: Future[tuple[Scratch, Future[Volume]]] = Future()
                try:
                    if not waiting:
                        begin(case)
                except Exception as error:
                    begun.set_exception(error)
                    yield case, begun
                    continue
                scratch, read = here = waiting.popleft()
                with scratch:
                    if at + 1 < len(cases):
                        with suppress(Exception):  # tried again in its own turn, when this case's files are gone
                            begin(cases[at + 1])
                    begun.set_result(here)
                    yield case, begun
        finally:
            for scratch, read in waiting:
                read.cancel()
                with scratch:
                    pass


def _named(volume: Volume, name: str, masked: Case | None) -> Volume:
    """The volume under the name of its results; of a case that is masked, without what notes repeat of its files."""
    notes = volume.source.notes
    if masked is not None:
        names = (part for entry in masked.entries for part in (str(entry), entry.member, entry.name))
        notes = tuple(note for note in notes if not note.startswith(LEFT_OUT))
        notes = without_words(notes, volume.source.instances, (*names, str(masked.path), masked.where, masked.name))
    return replace(volume, source=replace(volume.source, name=name, notes=notes))


def _check_given(given: UserMask | None, cases: Sequence[Case]) -> None:
    if not isinstance(given, Path):
        return
    if not given.exists():
        raise DataError(f"{given}: no such file or folder")
    if given.is_file() and len(cases) > 1:
        raise DataError(f"{given}: is one file for {len(cases)} cases; give a folder with NAME.nii.gz of each")


def _of_case(given: UserMask | None, case: Case) -> UserMask | None:
    """The label map of one case."""
    if not isinstance(given, Path):
        return given
    found = label_map(given, case.name)
    if found is None:
        raise DataError(f"{given}: has no {case.name}.nii.gz; give a label map of every case")
    return found


def _names(manifests: Manifests, cases: Sequence[Case]) -> list[str]:
    """The names of the cases' results.

    Raises:
        DataError: two are the same.
    """
    taken: dict[str, Case] = {}
    for case in cases:
        other = taken.setdefault(manifests.name(case), case)
        if other is not case:
            raise DataError(
                f"{case.where} and {other.where} would both be written as {manifests.name(case)}; predict them one "
                "after the other, with another --out"
            )
    return list(taken)
