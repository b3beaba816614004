"""Prediction from arrays to results, by the textbook and by us, with the same weights; ways as in `training`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks.floors import count
from benchmarks.task import CUT, OURS, Task, Work
from benchmarks.training import BATCH, settings_of
from PIL import Image
from torch import Tensor, nn

from benchmarks import textbook
from lesionsplit.data.lung_slice import LungSlice, find_lungs
from lesionsplit.data.normalise import Normalisation
from lesionsplit.images import Float, Grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import MethodOutput
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.networks.decomposition import DecompositionNet
from lesionsplit.phantom.dataset import PhantomSettings, draw_series

SIZE = 512

Read = Callable[[Tensor], MethodOutput]


def model_of(options: dict[str, Any]) -> Model:
    """The package's weights, or the paper's network at some width with weights that nothing has learnt."""
    if options["channels"] is None:
        return Model.load()
    settings = settings_of(options)
    torch.manual_seed(0)
    card = ModelCard(
        format=3,
        method=settings.method,
        placement=settings.placement,
        normalisation=Normalisation(mean=0.45, std=0.15),
        threshold=0.5,
        threshold_from="nowhere",
        trained={},
    )
    return Model(card, settings.method.build_network().to(memory_format=torch.channels_last))


def plain_read(model: Model, device: str) -> tuple[Read, nn.Module]:
    """What the textbook runs: the same weights in a plain network."""
    method = model.card.method
    if not isinstance(model.network, DecompositionNet):  # no paper has it: the same network, in the default layout
        network = copy.deepcopy(model.network).to(device, memory_format=torch.contiguous_format)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(lambda _, given: tuple(one.contiguous() for one in given))
        return lambda images: method.infer(network, images), network
    plain = textbook.Network(method.network.channels)
    textbook.same_weights(plain, model.network)
    plain = plain.to(device).eval()

    def read(images: Tensor) -> MethodOutput:
        healthy, lesion = plain(images)
        return MethodOutput(((lesion + 1) / 2).clip(0, 1), healthy)  # the paper's normalisation of its heat map

    return read, plain


def predict_plainly(read: Read, model: Model, slices: list[Grey], way: str, frame: int, device: str) -> list[Float]:
    """The textbook's loop, in batches; the score of each slice on its own grid."""
    card, scores = model.card, []

    def resize(image: Float, shape: tuple[int, ...]) -> Float:
        return np.array(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR))

    for at in range(0, len(slices), BATCH):
        greys = [grey.astype(np.float32) / np.iinfo(grey.dtype).max for grey in slices[at : at + BATCH]]
        lungs = [find_lungs(grey) for grey in slices[at : at + BATCH]]
        places = [card.placement.place(mask) for mask in lungs]
        if way == CUT:
            shown = [place.apply(grey) for place, grey in zip(places, greys, strict=True)]
        else:
            shown = [resize(grey, (frame, frame)) for grey in greys]
        canvas = card.normalisation.apply(torch.from_numpy(np.stack(shown))[:, None])
        with torch.no_grad():
            reading = read(canvas.to(device))
        for number, (grey, mask, place) in enumerate(zip(greys, lungs, places, strict=True)):
            parts = [reading.score[number, 0], card.normalisation.undo(reading.healthy[number, 0])]
            back = [
                place.undo(part.cpu().numpy()) if way == CUT else resize(part.cpu().numpy(), grey.shape)
                for part in parts
            ]
            score, healthy = (np.where(mask, part, 0) for part in back)
            _ = (score >= card.threshold, (255 * healthy).astype(np.uint8))
            scores.append(score)
    return scores


def predict(way: str, options: dict[str, Any]) -> Task:
    """Slices of 512 x 512 pixels, given as arrays."""
    drawn = [one.image for number in range(4) for one in draw_series("lesion", number, PhantomSettings(size=SIZE))]
    slices = [drawn[number % len(drawn)] for number in range(options["slices"])]
    model, device = model_of(options), options["device"]
    found: list[Float] = []
    if way == OURS:
        predictor = SlicePredictor(TorchEngine(model, device))
        if options.get("engine") == "onnx":
            predictor = SlicePredictor.load(device=device, engine="onnx")
        network = model.network

        def run(several: list[Grey] = slices, using: SlicePredictor = predictor) -> None:
            stream = using.predict_stream(LungSlice(grey, find_lungs(grey)) for grey in several)
            found[:] = [np.where(one.lungs, one.score, 0) for one in stream]

        def run_in_torch() -> None:
            run(slices[:BATCH], SlicePredictor(TorchEngine(model, device)))

    else:
        read, network = plain_read(model, device)

        def run(several: list[Grey] = slices) -> None:
            found[:] = predict_plainly(read, model, several, way, options["frame"], device)

        def run_in_torch() -> None:
            run(slices[:BATCH])

    def work() -> Work:
        given = BATCH * SIZE * SIZE * (1 + 4 + 1 + 1)  # grey; score, mask, healthy version
        one = count(run_in_torch, [network], given)
        return Work(one.macs / BATCH, one.bytes / BATCH)

    return Task(run, len(slices), work, lambda: {"mean score": float(np.mean(found))})


def difference(way: str, options: dict[str, Any]) -> dict[str, float]:
    """How far our scores are from the textbook's, in the lungs.

    Of slices of the network's own pixel size, so that nothing is resampled: what differs is what the network makes of
    the lungs when it sees less black about them, and where its coarser grids begin.
    """
    settings = PhantomSettings(size=options["frame"])
    slices = [one.image for number in range(4) for one in draw_series("lesion", number, settings)]
    model = model_of(options)
    read, _ = plain_read(model, "cpu")
    plain = predict_plainly(read, model, slices, way, options["frame"], "cpu")
    lungs = [find_lungs(grey) for grey in slices]
    stream = SlicePredictor(TorchEngine(model, "cpu")).predict_stream(map(LungSlice, slices, lungs))
    apart = np.concatenate(
        [np.abs(one.score - other)[mask] for one, other, mask in zip(stream, plain, lungs, strict=True)]
    )
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "within 1e-3": float(np.mean(apart <= 1e-3))}
