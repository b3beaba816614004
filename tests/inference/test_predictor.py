from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
from scipy import ndimage

from lesionsplit.data.lung_slice import LungSlice, read_slice
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import Float, as_float
from lesionsplit.inference.predictor import SeriesSlice, SlicePredictor
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.synthesis import Calibration, SynthesisSettings
from lesionsplit.models.card import NamedThreshold
from lesionsplit.models.device import choose_device
from lesionsplit.models.engine import EngineOutput
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionUNetSettings
from lesionsplit.scores import lesion_fraction, lesion_mask, slice_score


def make_model(card: ModelCard, *, silent: bool) -> Model:
    torch.manual_seed(0)
    network = card.method.build_network()
    if not silent:
        for decoder in network.decoders.values():
            torch.nn.init.normal_(decoder.head.weight)  # type: ignore[union-attr, arg-type]
            torch.nn.init.constant_(decoder.head.bias, 0.4)  # type: ignore[union-attr, arg-type]
    return Model(card, network)


@pytest.fixture
def predictor(card: ModelCard) -> SlicePredictor:
    return SlicePredictor(TorchEngine(make_model(card, silent=False), "cpu"))


@pytest.fixture
def slices(phantom: Table) -> list[LungSlice]:
    return [read_slice(row) for row in phantom.slices[:20]]


def test_what_comes_out_lies_on_what_went_in(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    grey, lungs = slices[0]
    one = predictor.predict(grey)
    assert one.score.shape == one.mask.shape == one.healthy.shape == grey.shape
    assert one.score.dtype == np.float32
    assert one.healthy.dtype == grey.dtype
    assert one.score.min() >= 0
    assert one.score.max() <= 1
    assert one.score.max() > 0.2, "a test of nothing"
    assert not one.score[~lungs].any()
    assert np.array_equal(one.healthy[~lungs], grey[~lungs])
    assert np.array_equal(one.mask, lesion_mask(one.score, 0.2))
    assert one.lesion_fraction == lesion_fraction(one.mask, lungs)
    assert one.slice_score == slice_score(one.score, lungs)


@pytest.mark.parametrize(("taken_off", "left"), [(1.2, -0.2), (0.5, 0.5), (0.0, 1.0)])
def test_what_is_too_bright_to_see_is_taken_off_like_what_is_seen(
    card: ModelCard, taken_off: float, left: float
) -> None:
    """A block at full scale in lungs at the mean; the network sees no more than three deviations above that."""
    placement = PlacementSettings(kind="frame", rows=64, columns=64)
    card = msgspec.structs.replace(card, placement=placement, normalisation=Normalisation(mean=0.4, std=0.1))

    class Engine:
        name, parameters = "fixed", 0

        def infer(self, canvases: Float) -> EngineOutput:
            healthy = np.where(canvases[:, 0] > 0.99, canvases[:, 0] - np.float32(taken_off), canvases[:, 0])
            return EngineOutput(np.zeros_like(healthy), healthy, None)

    engine = Engine()
    engine.card = card.for_prediction()  # type: ignore[attr-defined]
    image = np.full((64, 64), round(0.4 * 0xFFFF), np.uint16)
    image[20:40, 20:40] = 0xFFFF
    lungs = np.ones(image.shape, bool)
    (one,) = SlicePredictor(engine).predict_stream([LungSlice(image, lungs)])  # type: ignore[arg-type]
    seen, unseen = 0.4 + 0.3 * left, 0.3 * (1 - min(taken_off, 1))
    assert one.healthy[30, 30] / 0xFFFF == pytest.approx(seen + unseen, abs=1e-3)
    assert np.array_equal(one.healthy[:10], image[:10])


def test_a_network_that_changes_nothing_gives_the_slice_back(card: ModelCard, slices: list[LungSlice]) -> None:
    one = SlicePredictor(TorchEngine(make_model(card, silent=True))).predict(slices[0].grey)
    assert np.array_equal(one.healthy, slices[0].grey)  # finer than the canvas, and to the grey level
    assert not one.score.any()


def test_a_stream_is_its_slices_one_by_one(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    mixed = [LungSlice(grey[: 128 - 2 * i, :], lungs[: 128 - 2 * i, :]) for i, (grey, lungs) in enumerate(slices)]
    together = list(predictor.predict_stream(iter(mixed)))
    assert len(together) == len(mixed) == 20  # more than two batches
    for one, alone in zip(together, mixed, strict=True):
        expected = predictor.predict(*alone)
        np.testing.assert_allclose(one.score, expected.score, atol=1e-5)
        assert np.abs(one.healthy.astype(int) - expected.healthy).max() <= 1


def nearby(predictor: SlicePredictor, share: float) -> SlicePredictor:
    """The same network, of a method whose neighbours count so much."""
    card = predictor.engine.model.card
    method = DistilledSettings(network=DenoiserSettings(channels=(4, 6)), neighbour_weight=share)
    torch.manual_seed(0)
    network = method.build_network()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return SlicePredictor(TorchEngine(Model(msgspec.structs.replace(card, method=method), network), "cpu"))


def test_neighbours_of_a_series_are_averaged_in(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    predictor = nearby(predictor, 0.25)
    cut = LungSlice(slices[5].grey[:100], slices[5].lungs[:100])  # of another shape, so nobody's neighbour
    places = [("a", 0), ("a", 1), ("a", 3), ("b", 4), ("b", 5), ("b", 6), ("b", 7)]
    given = [*slices[:4], cut, *slices[6:8]]
    alone = list(predictor.predict_stream(given))
    series = [SeriesSlice(*place, one) for place, one in zip(places, given, strict=True)]
    found = list(predictor.predict_series(iter(series)))
    assert len(found) == len(given)
    for at, near in {0: [1], 1: [0], 2: [], 3: [], 4: [], 5: [6], 6: [5]}.items():
        total = alone[at].score + 0.25 * sum(alone[other].score * alone[other].lungs for other in near)
        count = 1 + 0.25 * sum(alone[other].lungs.astype(float) for other in near)
        expected = np.where(alone[at].score > 0, total / count, 0)
        np.testing.assert_allclose(found[at].score, expected, atol=1e-6)
        assert np.array_equal(found[at].mask, lesion_mask(found[at].score, predictor.threshold))
        assert np.array_equal(found[at].healthy, alone[at].healthy)
    assert np.abs(found[1].score - alone[1].score).max() > 1e-3, "a test of nothing"


def test_three_alike_stay_as_they_are(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    predictor = nearby(predictor, 0.3)
    alone = predictor.predict(*slices[0])
    for one in predictor.predict_series(SeriesSlice("a", at, slices[0]) for at in range(3)):
        np.testing.assert_allclose(one.score, alone.score, atol=1e-6)


def test_a_method_that_reads_slices_alone_is_not_told_of_neighbours(
    predictor: SlicePredictor, slices: list[LungSlice]
) -> None:
    found = predictor.predict_series(SeriesSlice("a", at, one) for at, one in enumerate(slices[:3]))
    for one, alone in zip(found, predictor.predict_stream(slices[:3]), strict=True):
        np.testing.assert_array_equal(one.score, alone.score)


def test_chosen_rows_are_predicted_as_among_all(predictor: SlicePredictor, phantom: Table) -> None:
    predictor = nearby(predictor, 0.3)
    table = replace(phantom, slices=phantom.slices[:12])
    rows = table.slices
    assert any(one.series == other.series for one, other in pairwise(rows)), "a test of nothing"
    every = list(predictor.predict_rows(rows))
    chosen = (11, 0, 3)
    for at, one in zip(chosen, predictor.predict_rows([rows[at] for at in chosen], among=table), strict=True):
        np.testing.assert_allclose(one.score, every[at].score, atol=1e-6)


def test_rows_of_a_series_with_others_between_them_are_no_neighbours(predictor: SlicePredictor, phantom: Table) -> None:
    predictor = nearby(predictor, 0.3)
    mixed = [row for pair in zip(phantom.slices[:4], phantom.slices[-4:], strict=True) for row in pair]
    table = replace(phantom, slices=tuple(replace(row, position=number) for number, row in enumerate(mixed)))
    alone = list(predictor.predict_stream(map(read_slice, mixed)))
    for found in (
        predictor.predict_rows(table),
        predictor.predict_rows(table, among=table),
        [one for row in table for one in predictor.predict_rows([row])],
    ):
        for one, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.score, expected.score, atol=1e-6)


def test_depth_does_not_matter(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    grey, lungs = slices[0]
    deep = grey.astype(np.uint16) * 257  # the same fractions of full scale
    shallow, fine = predictor.predict(grey, lungs), predictor.predict(deep, lungs)
    np.testing.assert_allclose(fine.score, shallow.score, atol=1e-6)
    assert fine.healthy.dtype == np.uint16
    np.testing.assert_allclose(as_float(fine.healthy), as_float(shallow.healthy), atol=0.51 / 255)


def test_what_a_stream_raises_comes_through(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    def stream() -> object:
        yield slices[0]
        raise DataError("the second is broken")

    with pytest.raises(DataError, match="the second is broken"):
        list(predictor.predict_stream(stream()))  # type: ignore[arg-type]


def test_what_is_no_lung_slice_is_named(predictor: SlicePredictor) -> None:
    with pytest.raises(DataError, match="no lung"):
        predictor.predict(np.zeros((64, 64), dtype=np.uint8))
    with pytest.raises(DataError, match="not lung-masked"):
        predictor.predict(np.full((64, 64), 99, dtype=np.uint8))


@pytest.mark.parametrize(
    ("image", "lungs"),
    [
        (np.full((64, 64), 9, dtype=np.int64), None),
        (np.full((64, 64), 0.5, dtype=np.float32), None),
        (np.full((64, 64, 3), 9, dtype=np.uint8), None),
        (np.full((64, 64), 9, dtype=np.uint8), np.ones((64, 64), dtype=np.uint8)),
        (np.full((64, 64), 9, dtype=np.uint8), np.ones((32, 64), dtype=bool)),
        (np.full((64, 64), 9, dtype=np.uint8), np.zeros((64, 64), dtype=bool)),
    ],
)
def test_arrays_of_another_kind_are_named(
    predictor: SlicePredictor, image: np.ndarray, lungs: np.ndarray | None
) -> None:
    with pytest.raises(DataError, match="allowed: "):
        predictor.predict(image, lungs)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan"), "specific"])
def test_a_threshold_out_of_range_is_named(card: ModelCard, threshold: float | str) -> None:
    words = rf"threshold is {threshold}; allowed: a number above 0 and up to 1; these weights name none"
    with pytest.raises(SettingsError, match=words):
        SlicePredictor(TorchEngine(make_model(card, silent=True)), threshold=threshold)


def test_a_threshold_by_its_name(card: ModelCard) -> None:
    named = {"specific": NamedThreshold(value=0.75, promise="little is marked")}
    engine = TorchEngine(make_model(msgspec.structs.replace(card, thresholds=named), silent=True))
    predictor = SlicePredictor(engine, threshold="specific")
    assert predictor.threshold == 0.75
    assert predictor.threshold_from == "specific: little is marked"
    assert SlicePredictor(engine).threshold == card.threshold
    assert SlicePredictor(engine, threshold=0.75).threshold_from == "as given"
    with pytest.raises(SettingsError, match=r"threshold is exact; allowed: a number above 0 and up to 1, or specific$"):
        SlicePredictor(engine, threshold="exact")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x", ""])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match="allowed: auto, cpu"):
        choose_device(name)


def test_a_raw_slice_with_its_lungs_is_as_a_lung_masked_one(predictor: SlicePredictor, slices: list[LungSlice]) -> None:
    grey, lungs = slices[0]
    masked = np.where(lungs, grey, 0).astype(np.uint8)
    raw = np.where(lungs, grey, 200).astype(np.uint8)
    expected, found = predictor.predict(masked, lungs), predictor.predict(raw, lungs)
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.healthy, expected.healthy)
    assert (raw[~lungs] == 200).all()


def test_a_score_may_reach_a_canvas_pixel_beyond_the_lungs_where_the_method_says_so(
    card: ModelCard, slices: list[LungSlice]
) -> None:
    method = SynthesisSettings(
        network=LesionUNetSettings(channels=(4, 6)),
        calibration=Calibration(faint=1e6, pleural_margin=1.0, temperature=1.0),
    )
    network = method.build_network()
    torch.nn.init.constant_(network.decoder.head.bias, 5.0)  # lesion everywhere
    predictor = SlicePredictor(TorchEngine(Model(msgspec.structs.replace(card, method=method), network)))
    grey, lungs = slices[0]
    one = predictor.predict(grey)
    scale = card.placement.place(lungs).scale
    assert scale > 2, "a test of nothing"
    steps = ndimage.distance_transform_cdt(~lungs, "chessboard")  # pixels to the nearest of the lungs
    assert one.score[(steps == 1)].max() > 0.5
    assert not one.score[steps > np.ceil(scale)].any()
    assert one.lesion_fraction <= 1
