"""`lesionsplit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionsplit.cli.options import FILE, device, engine, runtime_of, threads, threshold

KINDS = ("score", "lesion", "lungs", "healthy", "seg", "map", "sr", "sc", "pdf", "numbers", "page", "all")
"""As `pipeline.options.FILES`, which is not imported here so that --help is instant."""

HU = {"type": (float, float), "metavar": "HU HU", "default": None}


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE, metavar="INPUT...")
@click.option(
    "--out", "-o", type=FILE, help="Folder for the results.  [default: NAME-lesionsplit, or scans-lesionsplit]"
)
@click.option("--recursive", "-r", is_flag=True, help="Every series and volume below the folders given.")
@click.option("--weights", default="default", show_default=True, help="A weights file, or one that `export` wrote.")
@threshold
@click.option(
    "--intensity",
    type=click.Choice(["auto", "hu", "8-bit"]),
    default="auto",
    show_default=True,
    help="What values mean. 8-bit: grey on an unknown scale, of a volume, or of an image of the whole chest.",
)
@click.option("--force", is_flag=True, help="Continue despite recoverable inconsistencies in the files of a volume.")
@click.option(
    "--lungs",
    type=FILE,
    help="Your own lung mask, on the input's grid; for several inputs a folder with NAME.nii.gz, or NAME_lungs.png.",
)
@click.option(
    "--regions",
    type=FILE,
    help="Masks of the region that counts, for weights of --region mask: a folder with NAME.png, or one mask.",
)
@click.option(
    "--lung-method",
    type=click.Choice(["network", "thresholds", "lungmask"]),
    help="How lungs are found where no mask is given.  [default: network]",
)
@click.option("--lungmask-weights", type=FILE, help="Weights of the lungmask package.")
@click.option("--lobes", type=FILE, help="Label map of the lobes, as --lungs; needed for the severity score.")
@click.option("--ground-glass", **HU, help="Range of ground glass.  [default: -750 -300]")  # type: ignore[arg-type]
@click.option("--consolidation", **HU, help="Range of consolidation.  [default: -300 50]")  # type: ignore[arg-type]
@click.option(
    "--write",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only these files of a volume; repeatable.  [default: all but map]",
)
@click.option(
    "--all-findings",
    is_flag=True,
    help="Count findings of a volume that are probably normal too: edge of the lung, streaks, dependent lung.",
)
@click.option("--deidentify", is_flag=True, help="No patient name, identifier, date, UID or path in any output.")
@click.option("--omit-empty-frames", is_flag=True, help="Leave empty frames out of the DICOM segmentation: smaller.")
@click.option("--overwrite", is_flag=True, help="Predict again what is there already.")
@device
@threads
@engine
def predict(inputs: tuple[Path, ...], out: Path | None, **given: Any) -> int:
    """Split chest CT into a healthy version and the lesion on top.

    INPUT is a NIfTI, NRRD or MetaImage file, a DICOM file, a folder or zip with a DICOM series; or slices as images
    (PNG, JPG, TIFF), lung-masked, or of the whole chest with --intensity 8-bit.

    Of each volume OUT/NAME/ gets score.nii.gz (0 to 1), lesion.nii.gz, lungs.nii.gz and healthy.nii.gz on the
    input's grid, report.html, report.json and report.csv, manifest.json; of DICOM also segmentation.dcm (SEG),
    report.dcm (SR), pictures.dcm (Secondary Capture) and, if asked for, report.pdf.dcm (PDF) and score.dcm (parametric
    map). OUT/cases.csv has a line for each.

    Of each image OUT gets NAME_score.png (16 bit, 65535 = 1.0), NAME_mask.png, NAME_healthy.png and
    NAME_overlay.png on the slice's own grid; and predictions.csv for all.

    A second call skips what is done. Exit code 1: some inputs could not be read, or not all of their files written;
    the others are done. `lesionsplit --help` has all exit codes.
    """
    import signal

    from lesionsplit.cli.console import case_table, say, warn
    from lesionsplit.errors import DataError, SettingsError
    from lesionsplit.io.cases import find_cases
    from lesionsplit.pipeline.inputs import Outcome, usable
    from lesionsplit.pipeline.predictor import Predictor

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # temporary files go, as after Ctrl-C
    options = _options(given)
    found = usable(find_cases(inputs, recursive=given["recursive"]), options)
    if not found.images and not found.cases:
        for line in found.refused[:-1]:
            warn(line)
        raise DataError(found.refused[-1])
    if found.cases and found.images and options.lungs is not None:
        raise SettingsError("--lungs: the inputs are images and volumes; predict each kind in a call of its own")
    for line in found.refused:
        warn(line)
    out = out or _default_out(inputs)
    runtime = runtime_of(given)
    predictor = Predictor.load(given["weights"], threshold=given["threshold"], runtime=runtime)
    outcome = Outcome(failed=len(found.refused))
    options.check_kind(predictor.slices.card.kind)
    if found.cases and not predictor.slices.card.kind.of_lungs:
        raise SettingsError(f"{found.cases[0].where}: is a volume, and these weights are for single images")
    if found.images:
        from lesionsplit.pipeline.slices import predict_slices

        outcome += predict_slices(found.images, out, predictor, options, overwrite=given["overwrite"])
    if found.cases:
        from lesionsplit.pipeline.volumes import predict_volumes  # loads pydicom and nibabel

        outcome += predict_volumes(
            found.cases, out, predictor, options, refused=found.refused, overwrite=given["overwrite"]
        )
        case_table(out / "cases.csv")
    skipped = f", {outcome.skipped} were there already" if outcome.skipped else ""
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    say(f"{outcome.done} predicted{skipped}{failed}: {out}")
    if outcome.unusable and outcome.unusable == outcome.failed and not outcome.done + outcome.skipped:
        return 2  # nothing was done, and every line says which option does not apply
    return 1 if outcome.failed else 0


def _options(given: dict[str, Any]) -> Any:
    from lesionsplit.io.dicom.pseudonyms import Pseudonyms
    from lesionsplit.measurements.settings import MeasurementSettings
    from lesionsplit.pipeline.options import PredictOptions

    ranges = {name: given[name] for name in ("ground_glass", "consolidation") if given[name] is not None}
    return PredictOptions(
        intensity=given["intensity"],
        force=given["force"],
        lungs=given["lungs"],
        regions=given["regions"],
        lung_method=given["lung_method"],
        lungmask_weights=given["lungmask_weights"],
        lobes=given["lobes"],
        measurements=MeasurementSettings(**ranges),
        write=given["write"] or None,
        pseudonyms=Pseudonyms() if given["deidentify"] else None,
        all_findings=given["all_findings"],
        omit_empty_frames=given["omit_empty_frames"],
    )


def _default_out(inputs: tuple[Path, ...]) -> Path:
    """``scan-lesionsplit`` for scan.nii.gz, in the working directory."""
    from lesionsplit.io.names import safe, stem

    first = inputs[0].resolve()
    name = first.name if first.is_dir() else stem(first.name)
    return Path(f"{safe(name) if len(inputs) == 1 else 'scans'}-lesionsplit")
