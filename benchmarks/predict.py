"""Prediction: slices per second from arrays to results, beside a loop as one writes it in a notebook.

The loop takes a slice at a time: crop, resize, network, resize back, threshold, healthy version, with
the same network and the same arithmetic. Both print the mean score, by which one sees that it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from rounds import compare, measure, parser
from scipy import ndimage

from lesionsplit.data.lungs import LungSlice, find_lungs
from lesionsplit.images import Grey, as_float, as_grey
from lesionsplit.memory import keep_freed_memory
from lesionsplit.model import Model
from lesionsplit.phantom.study import PhantomSettings, draw_series
from lesionsplit.predictor import Predictor


def textbook(model: Model, slices: list[Grey]) -> float:
    """A slice at a time; the mean score."""
    card, scores = model.card, []
    network = model.network.to(memory_format=torch.contiguous_format)
    for grey in slices:
        lungs = find_lungs(grey)
        image = as_float(grey)
        placement = card.placement.place(lungs)
        canvas = card.normalisation.apply(placement.apply(image))
        with torch.no_grad():
            score, healthy = card.method.read(network, torch.from_numpy(canvas)[None, None])
        change = card.normalisation.undo(healthy[0, 0].numpy()) - card.normalisation.undo(canvas)
        as_grey(np.where(lungs, image + placement.undo(change), image))
        reach = 2 * math.ceil(card.method.reach * placement.scale) + 1
        on_frame = np.where(ndimage.maximum_filter(lungs, reach), placement.undo(score[0, 0].numpy()), 0)
        _ = on_frame >= card.threshold
        scores.append(float(on_frame.mean()))
    return float(np.mean(scores))


def ours(model: Model, slices: list[Grey]) -> float:
    """The package's stream; the mean score."""
    stream = Predictor(model).predict_stream(LungSlice(grey, find_lungs(grey)) for grey in slices)
    return float(np.mean([prediction.score.mean() for prediction in stream]))


def main() -> None:
    options = parser(__doc__.splitlines()[0], slices=48).parse_args()
    if options.way is None:
        compare(__file__, options.rounds)
        return
    torch.set_num_threads(options.threads)
    settings = PhantomSettings(size=512)
    drawn: list[Grey] = []
    for number in range(4):
        drawn += [one.image for one in draw_series("lesion", number, settings)]
    slices = [drawn[number % len(drawn)] for number in range(options.slices)]
    if options.way == "lesionsplit":
        keep_freed_memory()
    run = ours if options.way == "lesionsplit" else textbook
    model = Model.load()
    mean = run(model, slices[:8])
    measure(lambda: run(model, slices), len(slices), mean_score=float(f"{mean:.3g}"))


if __name__ == "__main__":
    main()
