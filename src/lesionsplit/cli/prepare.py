"""`lesionsplit prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionsplit.cli.options import FILE, Number

RECIPES = ("covid-ct-20", "mosmed", "covid-19-20", "medseg-9", "lidc-idri")
"""As `pipeline.training_set.recipes.RECIPES`, which is not imported here so that --help is instant."""

FROM_ZERO = Number(min=0)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=FILE, metavar="SCANS...")
@click.option("--out", "-o", type=FILE, required=True, help="Folder for the data set.")
@click.option(
    "--labels",
    type=FILE,
    help="Table: scan, label, and any of first, last, patient, split, lungs, intensity, mask_NAME.",
)
@click.option("--recipe", type=click.Choice(RECIPES), help="SCANS is the folder of this public data set; no table.")
@click.option(
    "--masks", multiple=True, metavar="NAME=FOLDER", help="Masks of annotator NAME, called as the scans; repeatable."
)
@click.option(
    "--labels-from", metavar="NAME", help="Image labels from the masks of this annotator, not from the table."
)
@click.option("--drop-unseen", metavar="NAME", help="Leave out lesion slices in which this annotator marked no lesion.")
@click.option(
    "--min-lesion-mm2", type=FROM_ZERO, default=10.0, show_default=True, help="Smallest lesion of these two options."
)
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Every k-th slice only.")
@click.option("--min-lung-cm2", type=FROM_ZERO, default=10.0, show_default=True, help="Smallest lung area of a slice.")
@click.option(
    "--split",
    type=(FROM_ZERO, FROM_ZERO, FROM_ZERO),
    default=(0.6, 0.2, 0.2),
    show_default=True,
    metavar="TRAIN VAL TEST",
    help="Fractions of the patients.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random splits.")
@click.option("--lungs", type=FILE, help="Folder with your own lung masks, called as the scans.")
@click.option(
    "--lung-method",
    type=click.Choice(["network", "thresholds"]),
    default="network",
    show_default=True,
    help="How lungs are found where no mask is given.",
)
@click.option(
    "--intensity",
    type=click.Choice(["auto", "hu", "8-bit"]),
    default="auto",
    show_default=True,
    help="What values mean; see predict.",
)
@click.option("--one-label", is_flag=True, help="Allow that all scans have one label.")
@click.option("--overwrite", is_flag=True, help="Begin anew, also with other options.")
def prepare(inputs: tuple[Path, ...], out: Path, **given: Any) -> int:
    """Make a data set for `train` from scans with a label for each.

    SCANS are what `predict` reads: NIfTI, NRRD, MetaImage, DICOM series, folders and zips of them, at any depth. Lungs
    are found, slices are chosen, patients are put into splits. OUT gets a folder for each scan, slices.csv for `train`
    and `evaluate`, and scans.csv with what became of each scan.

    Masks are kept for `evaluate`; training does not read them. --labels-from and --drop-unseen use them to choose
    labels or slices, and prepare.json says so.

    A second call goes on where the first one stopped. Exit code 1: some scans could not be read; the others are done.
    """
    import signal

    from lesionsplit.cli.console import bar, say, warn
    from lesionsplit.pipeline.training_set.request import PrepareRequest
    from lesionsplit.runtime import Runtime

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # temporary files go, as after Ctrl-C
    request = PrepareRequest(inputs=inputs, out=out, **given)
    done = request.run(Runtime(progress=bar, say=say, warn=warn))
    for at, split in enumerate(("train", "val", "test")):
        counts = ", ".join(f"{done.slices[split, label]} {label}" for label in ("normal", "lesion"))
        say(f"{split}: {counts} slices")
        if not any(done.slices[split, label] for label in ("normal", "lesion")) and given["split"][at] > 0:
            warn(f"{split} has no slices; give scans of more patients, or the column split")
    kept = f", {done.kept} of them were there already" if done.kept else ""
    failed = f", {done.failed} failed" if done.failed else ""
    unlabelled = f", {done.unlabelled} without label left out" if done.unlabelled else ""
    say(f"{done.done} scans prepared{kept}{failed}{unlabelled}: {out}")
    say(f"train on it with: lesionsplit train {out}")
    return 1 if done.failed else 0
