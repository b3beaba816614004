"""Image files to heat maps, masks, healthy versions and overlays, and a table of all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from threading import RLock

from lesionsplit.atomic import cannot_lock, rename, temporary_folder
from lesionsplit.errors import DataError, OutputError, one_failure
from lesionsplit.pipeline.inputs import Outcome, gather
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.prediction_table import TABLE, NameTakenError, PredictionTable
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.result import SliceResult
from lesionsplit.pipeline.scan import SliceImage, mask_file, read_image

AHEAD = 16
"""Slices whose files may wait to be written, which bounds memory."""


def predict_slices(
    inputs: Sequence[Path],
    out: Path,
    predictor: Predictor,
    options: PredictOptions | None = None,
    *,
    overwrite: bool = False,
) -> Outcome:
    """Predict image files and folders of them; what cannot be read is reported and left out.

    Args:
        inputs: image files, or folders of them.
        out: the folder to write to.
        predictor: the model; its runtime receives a line about each slice that cannot be read.
        options: ``lungs`` is a folder with NAME_lungs.png of each slice, or the file of a single slice;
            ``intensity="8-bit"`` is for slices of the whole chest, whose lungs are found unless they are given.
        overwrite: predict again what is there already.

    Raises:
        DataError: an input or the lungs do not exist, two slices would be written under one name, or the folder
            holds predictions with other weights or another threshold.
        SettingsError: an option does not apply to images.
        RuntimeError: a slice has neither a result nor a failure, which would be an error in this package.
    """
    options = options or PredictOptions()
    warn, progress = predictor.runtime.warn, predictor.runtime.progress
    outcome = Outcome()
    turn = RLock()  # slices fail in the thread that reads ahead while this one adds others

    def fail(line: str) -> None:
        with turn:
            outcome.failed += 1
            warn(line)

    paths = gather(inputs, out, "score", fail)
    refused = outcome.failed
    options.check_image(str(paths[0]))
    kind = predictor.slices.card.kind
    options.check_kind(kind)
    given = options.lungs if kind.of_lungs else options.regions
    masks = given if isinstance(given, Path) else None
    if masks is not None and not masks.is_dir() and not (masks.is_file() and len(paths) == 1):
        where = "give the one that `lesionsplit lungs` wrote" if kind.of_lungs else "give the folder of the masks"
        raise DataError(f"{masks}: no such folder; {where}")
    table = PredictionTable(out, None if masks is None else lambda path: mask_file(options, path, kind))
    if removed := table.begin(_manifest(predictor, options), paths, overwrite=overwrite):
        warn(f"{table.path}: {removed} rows of other slices with other or unknown settings were removed")
    for line in filter(None, (table.damage, cannot_lock(out))):
        warn(line)
    todo = [path for path in paths if overwrite or not table.has(path)]
    outcome.skipped = len(paths) - len(todo)
    read: deque[tuple[Path, SliceImage]] = deque()
    ended_by: list[Exception] = []

    def drop(path: Path, error: Exception) -> None:
        with turn:
            table.drop(path)
            fail(one_failure(error, str(path)))

    def images() -> Iterator[SliceImage]:
        try:
            for path in progress(todo, len(todo), "Predicting"):
                table.look(path)  # before it is read: what changes later is seen by the next call
                try:
                    mask = mask_file(options, path, kind)
                    image = read_image(path, options, mask, predictor.runtime.device, kind)
                except Exception as error:
                    drop(path, error)
                    continue
                read.append((path, image))
                yield image
        except Exception as error:  # not of a slice: the table or the terminal cannot be written to
            ended_by.append(error)
            raise

    def results() -> Iterator[tuple[Path, SliceResult]]:
        stream = images()
        while True:
            try:
                for result in predictor.predict_images(stream):
                    yield read.popleft()[0], result
            except Exception:  # at one of the slices read ahead: which one, shows when each is alone
                if not read and not ended_by:
                    raise
            else:
                return
            alone = list(read)
            read.clear()
            for path, image in alone:
                try:
                    (one,) = predictor.predict_images([image])
                except Exception as error:  # noqa: PERF203  a line for each slice
                    drop(path, error)
                else:
                    yield path, one
            if ended_by:  # nothing more comes; it is raised when what was read is written
                return

    with temporary_folder(out) as folder, ThreadPoolExecutor() as pool:
        writing: deque[tuple[Path, SliceResult, Future[list[Path]]]] = deque()

        def written() -> None:
            path, result, files = writing.popleft()
            failed: Exception | None = None
            try:
                files.result()
            except OutputError as error:  # a slice with a missing file is done again by the next call
                rename(error, folder, out)
                failed = error
            try:
                if not (isinstance(failed, OutputError) and failed.disk):  # else what was there before is better kept
                    with turn:
                        table.add(path, result, folder)
            except NameTakenError as error:
                failed = error
            if failed is None:
                outcome.done += 1
            else:
                fail(one_failure(failed, str(path)))

        for path, result in results():
            if result.notes:
                warn(f"{path}: {'; '.join(result.notes)}")
            writing.append((path, result, pool.submit(result.save, folder)))
            while len(writing) > AHEAD:
                written()
        while writing:
            written()
    if ended_by:
        raise ended_by[0]
    if (counted := outcome.done + outcome.skipped + outcome.failed - refused) != len(paths):
        raise RuntimeError(f"{counted} of {len(paths)} slices are done, skipped or failed; the others were lost")
    table.finish(paths)
    if len(table.rows) > 1:
        from lesionsplit.pipeline.image_page import write_image_page  # loads jinja2

        write_image_page(out, table.rows, kind, table=TABLE, manifest=_manifest(predictor, options))
    return outcome


def _manifest(predictor: Predictor, options: PredictOptions) -> dict[str, str | float]:
    raw, given = options.intensity == "8-bit", options.lungs is not None
    kind = predictor.slices.card.kind
    lungs = f"{'raw, ' if raw else ''}{'given' if given else 'found' if raw else 'masked'}"
    return {
        "lesionsplit": version("lesionsplit"),
        "weights": predictor.weights,
        "threshold": predictor.threshold,
        **({"lungs": lungs} if kind.of_lungs else {"region": kind.region}),
        "threshold from": predictor.slices.threshold_from,
        "score": "NAME_score.png, 16 bit: 65535 is 1.0",
    }
