from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import WeightsError
from lesionsplit.models.card import digest
from lesionsplit.models.export import canvases
from lesionsplit.models.model import Model
from lesionsplit.models.onnx_engine import KEY, OnnxEngine
from lesionsplit.settings import to_table


def test_it_computes_what_torch_computes(exported: Path, weights: Path, slices: list[LungSlice]) -> None:
    model, engine = Model.load(weights), OnnxEngine(exported)
    images = canvases(slices, model.card)
    with torch.inference_mode():
        expected = model.infer(torch.from_numpy(images))
    assert expected.score.std() > 0.005, "a test of nothing"
    for count in (1, 3, len(images)):  # any number at a time
        found = engine.infer(images[:count])
        assert found.score.dtype == found.healthy.dtype == np.float32
        assert found.presence is None
        np.testing.assert_allclose(found.score, expected.score[:count, 0], atol=1e-4, rtol=0)
        np.testing.assert_allclose(found.healthy, expected.healthy[:count, 0], atol=1e-4, rtol=0)


def test_the_file_describes_itself(exported: Path, weights: Path) -> None:
    import onnx

    graph = onnx.load(exported)
    onnx.checker.check_model(graph, full_check=True)
    assert [entry.name for entry in graph.graph.input] == ["images"]
    assert [entry.name for entry in graph.graph.output] == ["score", "healthy"]
    model = Model.load(weights)
    packages = ("lesionsplit", "torch", "onnx", "onnxruntime")
    assert json.loads({entry.key: entry.value for entry in graph.metadata_props}[KEY]) == {
        "card": json.loads(json.dumps(to_table(model.card.for_prediction()))),  # tuples become lists
        "weights": digest(weights),
        "parameters": sum(one.numel() for one in model.network.parameters()),
        "made_with": {name: version(name) for name in packages},
        "mirror_left_out": False,
    }
    engine = OnnxEngine(exported)
    assert engine.card == model.card.for_prediction()
    assert engine.name == f"onnxruntime {version('onnxruntime')} on cpu"


def test_files_that_cannot_be_read(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(WeightsError, match=r"a\.onnx: no such file; give a file that `lesionsplit export` wrote"):
        OnnxEngine(path)
    for content in (b"no graph", exported.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"a\.onnx: is not a whole ONNX file") as caught:
            OnnxEngine(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no card of lesionsplit; give a file that `lesionsplit export` wrote"),
        ("{", "its card is not a JSON object; make the file again"),
        ('{"precision": "int8"}', "unknown setting precision; .* is the file from another version of lesionsplit"),
        ("{}", "card: is missing; is the file from another version of lesionsplit"),
    ],
)
def test_the_card_is_checked(exported: Path, tmp_path: Path, text: str | None, message: str) -> None:
    import onnx

    graph = onnx.load(exported)
    del graph.metadata_props[:]
    if text is not None:
        graph.metadata_props.add(key=KEY, value=text)
    onnx.save(graph, tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match=rf"a\.onnx: {message}"):
        OnnxEngine(tmp_path / "a.onnx")


def test_a_flipped_bit_is_found_wherever_it_is(exported: Path, tmp_path: Path) -> None:
    whole, path = exported.read_bytes(), tmp_path / "a.onnx"
    for at in (len(whole) // 2, whole.index(b"threshold"), len(whole) - 1):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(changed)
        with pytest.raises(WeightsError) as caught:
            OnnxEngine(path)
        assert str(caught.value) == (
            f"{path}: is not a whole ONNX file (it has changed since it was written); export it again"
        )


def test_a_card_of_another_canvas_or_in_no_unicode(exported: Path, tmp_path: Path) -> None:
    """Files without a seal, as of before 0.3.0."""
    import onnx

    path = tmp_path / "a.onnx"
    graph = onnx.load(exported)
    (entry,) = (one for one in graph.metadata_props if one.key == KEY)
    del graph.metadata_props[:]
    card = json.loads(entry.value)
    card["card"]["placement"]["rows"] = 64
    graph.metadata_props.add(key=KEY, value=json.dumps(card))
    onnx.save(graph, path)
    with pytest.raises(WeightsError, match=r"a\.onnx: its network takes \[\[1, 32, 48\]\], not the canvas of its card"):
        OnnxEngine(path)
    path.write_bytes(path.read_bytes().replace(b"threshold_from", b"threshold\xfffrom"))
    with pytest.raises(WeightsError, match=r"a\.onnx: is not a whole ONNX file \('utf-8' codec can't decode byte 0xff"):
        OnnxEngine(path)
