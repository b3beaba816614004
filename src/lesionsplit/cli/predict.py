"""`lesionsplit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lesionsplit.engines.base import EngineName
    from lesionsplit.volumes.intensity import Wanted

KINDS = ("score", "lesion", "lungs", "healthy", "seg", "map", "sr", "numbers", "page")
"""As `report.case.FILES`, which is not imported here: --help is to be instant."""

INTENSITY: dict[str, Wanted] = {"auto": "auto", "hu": "hu", "8-bit": "grey"}
"""What users say to what is meant."""

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE, metavar="INPUT...")
@click.option("--out", "-o", type=FILE, required=True, help="Folder for the results.")
@click.option("--recursive", "-r", is_flag=True, help="Every series and volume below the folders given.")
@click.option("--weights", type=FILE, help="A weights file, or one of `export`.  [default: the package's]")
@click.option("--threshold", type=float, help="Lowest score that counts as lesion.  [default: the one in the weights]")
@click.option(
    "--intensity",
    type=click.Choice(list(INTENSITY)),
    default="auto",
    show_default=True,
    help="What values mean. 8-bit: grey on an unknown scale, of a slice or volume that is not lung-masked.",
)
@click.option("--force", is_flag=True, help="Go on where a series is odd but can be read.")
@click.option(
    "--lungs",
    type=FILE,
    help="Your own lung mask, on the input's grid; for several inputs a folder with NAME.nii.gz, or NAME_lungs.png.",
)
@click.option(
    "--lung-method",
    type=click.Choice(["network", "thresholds", "lungmask"]),
    default="network",
    show_default=True,
    help="How lungs are found where no mask is given.",
)
@click.option("--lungmask-weights", type=FILE, help="A weights file of the lungmask package.")
@click.option("--lobes", type=FILE, help="Label map of the lobes, as --lungs; without it no severity score.")
@click.option("--ground-glass", type=(float, float), metavar="HU HU", help="Of ground glass.  [default: -750 -300]")
@click.option("--consolidation", type=(float, float), metavar="HU HU", help="Of consolidation.  [default: -300 50]")
@click.option(
    "--write",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only these files of a volume; may be given several times.  [default: all]",
)
@click.option("--deidentify", is_flag=True, help="No patient name, identifier, date, UID or path in any output.")
@click.option("--omit-empty-frames", is_flag=True, help="Leave empty frames out of the DICOM segmentation: smaller.")
@click.option("--overwrite", is_flag=True, help="Predict again what is there already.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "onnx", "openvino"]),
    default=None,
    help="What runs the network on a CPU; auto: the fastest installed.  [default: torch]",
)
def predict(
    inputs: tuple[Path, ...],
    out: Path,
    recursive: bool,
    weights: Path | None,
    threshold: float | None,
    intensity: str,
    force: bool,
    lungs: Path | None,
    lung_method: str,
    lungmask_weights: Path | None,
    lobes: Path | None,
    ground_glass: tuple[float, float] | None,
    consolidation: tuple[float, float] | None,
    write: tuple[str, ...],
    deidentify: bool,
    omit_empty_frames: bool,
    overwrite: bool,
    device: str,
    threads: int | None,
    engine: EngineName | None,
) -> int:
    """Take chest CT apart: volumes, DICOM series, or single slices.

    INPUT is a NIfTI, NRRD or MetaImage file, a DICOM file, a folder or zip with a DICOM series; or
    slices as images (PNG, JPG, TIFF), lung-masked, or raw with --intensity 8-bit.

    For each volume OUT/NAME/ gets score.nii.gz (0 to 1), lesion.nii.gz, lungs.nii.gz and
    healthy.nii.gz on the input's grid, report.html, report.json and report.csv, manifest.json; of
    DICOM also segmentation.dcm (SEG), score.dcm (parametric map) and report.dcm (SR). OUT/cases.csv
    has a line for each.

    For each image: NAME_score.png (16 bit, 65535 = 1.0), NAME_mask.png, NAME_healthy.png and
    NAME_overlay.png, on the slice's own grid; and predictions.csv for all.

    Rerunning skips what is done. Exit code 1 if some inputs could not be read.
    """
    import signal

    from lesionsplit.cases.find import find_cases
    from lesionsplit.console import bar, case_table, say
    from lesionsplit.dicom.deidentify import Pseudonyms
    from lesionsplit.errors import DataError, SettingsError
    from lesionsplit.measures.settings import MeasureSettings
    from lesionsplit.report.case import FILES, Outputs
    from lesionsplit.report.inputs import Outcome
    from lesionsplit.report.predictions import predict_files
    from lesionsplit.report.settings import VolumeSettings
    from lesionsplit.report.volumes import predict_volumes

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # temporary files go, as after Ctrl-C
    found = find_cases(inputs, recursive=recursive)
    common: dict[str, Any] = {
        "threshold": threshold,
        "overwrite": overwrite,
        "device": device,
        "threads": threads,
        "engine": engine,
        "progress": bar,
        "say": say,
    }
    if not found.images and not found.cases:
        for line in found.refused[:-1]:
            say(line)
        raise DataError(found.refused[-1])
    for line in found.refused:
        say(line)
    outcome = Outcome(failed=len(found.refused))
    if found.images:
        if deidentify:
            raise SettingsError("--deidentify is for volumes: what is written of images bears their files' names")
        raw = intensity == "8-bit"
        outcome += predict_files(found.images, out, weights, lungs=lungs, raw=raw, **common)
    if found.cases:
        usual = MeasureSettings()
        settings = VolumeSettings(
            intensity=INTENSITY[intensity],
            force=force,
            lungs=lungs,
            lung_method=lung_method,  # type: ignore[arg-type]
            lungmask_weights=lungmask_weights,
            lobes=lobes,
            measures=MeasureSettings(
                ground_glass=ground_glass or usual.ground_glass, consolidation=consolidation or usual.consolidation
            ),
            outputs=Outputs(
                kinds=write or tuple(FILES),
                pseudonyms=Pseudonyms() if deidentify else None,
                omit_empty_frames=omit_empty_frames,
            ),
        )
        outcome += predict_volumes(found.cases, out, weights, settings, refused=found.refused, **common)
        case_table(out / "cases.csv")
    skipped = f", {outcome.skipped} were there already" if outcome.skipped else ""
    failed = f", {outcome.failed} could not be read" if outcome.failed else ""
    say(f"{outcome.done} predicted{skipped}{failed}: {out}")
    return 1 if outcome.failed else 0
