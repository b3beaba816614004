"""`lesionsplit export`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lesionsplit.data.table import Table
    from lesionsplit.engines.base import Engine, Format
    from lesionsplit.engines.export import Integers
    from lesionsplit.evaluation.tally import Scored
    from lesionsplit.images import Float
    from lesionsplit.model import Model

FILE = click.Path(path_type=Path)

ALLOWED_LOSS = 0.005
"""By which average precision on val may fall, for any annotator, when a model goes to 8-bit integers."""

SEEN = 128
"""Normal slices on which is seen how large what the network computes gets."""


@click.command()
@click.argument("weights", type=FILE, metavar="WEIGHTS|default")
@click.option("--format", "kind", type=click.Choice(["onnx", "openvino"]), required=True, help="For which engine.")
@click.option("--out", "-o", type=FILE, required=True, help="NAME.onnx; or NAME.xml, NAME.bin is then written too.")
@click.option("--int8", "to_int8", is_flag=True, help="8-bit integers: faster, a little less exact. Needs --data.")
@click.option("--data", type=FILE, help="A data set: its normal train slices calibrate, its masks of val judge int8.")
@click.option("--allow-loss", is_flag=True, help=f"Write int8 even if average precision falls by over {ALLOWED_LOSS}.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
def export(
    weights: Path, kind: Format, out: Path, to_int8: bool, data: Path | None, allow_loss: bool, threads: int | None
) -> None:
    """Write weights for ONNX Runtime or OpenVINO, with all that is needed to use them in the file.

    The file takes canvases, (B, 1, rows, columns) in network grey, and gives score and healthy
    version of each, as the weights do: both are run on a few slices, and nothing is written if they
    differ by more than 0.001. Placement, normalisation and threshold are in its metadata, under
    `lesionsplit`. `lesionsplit predict --weights` takes it too.
    """
    import torch

    from lesionsplit.console import say
    from lesionsplit.data.table import read_table
    from lesionsplit.engines.export import export as write
    from lesionsplit.errors import SettingsError
    from lesionsplit.model import Model, digest

    if threads:
        torch.set_num_threads(threads)
    if to_int8 and data is None:
        raise SettingsError("--int8 needs --data, a data set with normal slices in its train split to calibrate on")
    path = None if weights == Path("default") else weights
    model = Model.load(path)
    table = None if data is None else read_table(data)
    integers = None
    if to_int8 and table is not None:
        integers = _integers(model, table, allow_loss=allow_loss, say=say)
    difference = write(model, digest(path), out, kind, probe=_probe(model, table), integers=integers)
    say(f"written to {out}; differs from torch by at most {difference:.1g} in fp32")


def _probe(model: Model, table: Table | None) -> Float:
    """A few slices of either label on the canvas: of the data set, or drawn."""
    from lesionsplit.data.lungs import LungSlice, find_lungs, read_slice
    from lesionsplit.engines.export import canvases
    from lesionsplit.phantom.study import PhantomSettings, draw_series

    if table is not None:
        rows = [*table.labelled("lesion")][:4] + [*table.labelled("normal")][:4]
        return canvases(map(read_slice, rows), model.card)
    drawn = [one.image for label in ("lesion", "normal") for one in draw_series(label, 0, PhantomSettings())[:4]]
    return canvases((LungSlice(image, find_lungs(image)) for image in drawn), model.card)


def _integers(model: Model, table: Table, *, allow_loss: bool, say: Callable[[str], None]) -> Integers:
    """What it takes to go to integers: normal slices, and a judge who knows val's masks."""
    from lesionsplit.data.lungs import read_slice
    from lesionsplit.engines.export import Integers, canvases
    from lesionsplit.errors import DataError, WeightsError

    normal = [row for row in table.without_masks() if (row.split, row.label) == ("train", "normal")]
    if not normal:
        raise DataError(f"{table.root}: has no normal slice in its train split; int8 is calibrated on those")
    val = table.select(lambda row: row.split == "val" and bool(row.masks))

    def judge(whole: Engine, small: Engine) -> None:
        if not len(val):
            say(f"{table.root}: has no masks in its val split, so what int8 costs is not measured")
            return
        before, after = average_precisions(whole, val), average_precisions(small, val)
        for name in before:
            say(
                f"average precision on val against {name}: {before[name]:.4f} in fp32, {after.get(name, 0):.4f} in int8"
            )
        falls = {name: before[name] - after.get(name, 0) for name in before}
        worst = max(falls, key=lambda name: falls[name])
        fall = falls[worst]
        if not fall <= ALLOWED_LOSS and not allow_loss:
            raise WeightsError(
                f"int8: average precision on val against {worst} falls by {fall:.4f}, where {ALLOWED_LOSS} is allowed; "
                f"nothing is written: export without --int8, or with --allow-loss"
            )

    return Integers(canvases(map(read_slice, normal[:: -(-len(normal) // SEEN)]), model.card), judge)


def average_precisions(engine: Engine, table: Table) -> dict[str, float]:
    """Pooled average precision of what an engine finds in lesion slices, by annotator."""
    from lesionsplit.evaluation.protocol import evaluate
    from lesionsplit.evaluation.tally import Scored
    from lesionsplit.predictor import Predictor

    predictor = Predictor(engine, device="cpu")

    def scored() -> Iterator[Scored]:
        for one in predictor.predict_rows(table):
            yield Scored(one.score, one.lungs)

    evaluation, _ = evaluate(table, {"it": scored()}, {"it": predictor.threshold})
    found = {name: against.average_precision.value for name, against in evaluation.methods["it"].items()}
    return {name: value for name, value in found.items() if value is not None}  # None: nothing is outlined
