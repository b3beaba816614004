"""`lesionsplit export`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionsplit.cli.options import FILE, threads


@click.command()
@click.argument("weights", type=FILE, metavar="WEIGHTS|default|lungs")
@click.option("--out", "-o", type=FILE, required=True, metavar="NAME.onnx", help="The file to write.")
@click.option(
    "--no-mirror",
    is_flag=True,
    help="Leave out the average over each slice and its mirror image: half the network's time.",
)
@threads
def export(weights: Path, out: Path, no_mirror: bool, threads: int | None) -> None:
    """Write weights as an ONNX file, with all that is needed to use them.

    The file takes canvases, (B, 1, rows, columns) in network grey, and computes the score and the
    healthy version of each. It is compared with PyTorch on a few slices first; if they differ by
    more than 0.001, nothing is written. Placement, normalisation and threshold are in its metadata,
    under `lesionsplit`. `lesionsplit predict --weights` accepts the file. `lungs` is the network in
    the package that finds lungs.
    """
    from lesionsplit.cli.console import say
    from lesionsplit.errors import SettingsError
    from lesionsplit.models.card import digest
    from lesionsplit.models.export import export as write
    from lesionsplit.models.model import Model
    from lesionsplit.runtime import Runtime

    Runtime(threads=threads).begin()
    if weights == Path("lungs"):
        if no_mirror:
            raise SettingsError("--no-mirror: the network that finds lungs has no mirror average; leave it out")
        from lesionsplit.training.lungs.network import export_lungs

        export_lungs(None, out)
        say(f"written to {out}")
        return
    path = None if weights == Path("default") else weights
    difference = write(Model.load(path), digest(path), out, mirror=not no_mirror)
    say(f"written to {out}; differs from PyTorch by at most {difference:.1g}")
