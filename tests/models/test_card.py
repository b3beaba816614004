"""Reading and writing weights files, whatever network is in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from lesionsplit.errors import DataError, WeightsError
from lesionsplit.models.card import first_line, parse_card
from lesionsplit.models.weights_file import WeightsKind
from lesionsplit.settings import Settings


class Card(Settings, frozen=True):
    width: int
    format: int = 3


@pytest.fixture
def kind(tmp_path: Path) -> WeightsKind[Card]:
    return WeightsKind(card=Card, key="k", owner="ours", command="make", default=tmp_path / "default.safetensors")


def build(card: Card) -> nn.Linear:
    return nn.Linear(card.width, 1)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file with these metadata, and tensors for a width of 3."""

    def run(metadata: dict[str, str]) -> Path:
        path = tmp_path / "w.safetensors"
        safetensors.torch.save_file(nn.Linear(3, 1).state_dict(), path, metadata=metadata)
        return path

    return run


def test_a_written_file_is_read_to_the_bit(kind: WeightsKind[Card], tmp_path: Path) -> None:
    network, path = nn.Linear(3, 1), tmp_path / "w.safetensors"
    kind.write(path, Card(width=3), network)
    card, again = kind.read(path, build)
    assert card == Card(width=3)
    assert torch.equal(again.weight, network.weight)
    assert torch.equal(again.bias, network.bias)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"].keys() == {"k", "sha256"}
    assert header["__metadata__"]["k"] == '{"width": 3, "format": 3}'


def test_the_default_is_the_file_in_the_package(kind: WeightsKind[Card], tmp_path: Path) -> None:
    kind.write(tmp_path / "default.safetensors", Card(width=5), nn.Linear(5, 1))
    assert kind.read(None, build)[0].width == 5


GIVE = "give a weights file that `lesionsplit make` wrote"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, f"is safetensors but has no card of ours; {GIVE}"),
        ({"other": '{"width": 3}'}, f"is safetensors but has no card of ours; {GIVE}"),
        ({"k": "{"}, "its card is not a JSON object; make the file again"),
        ({"k": "[]"}, "its card is not a JSON object; make the file again"),
        (
            {"k": '{"format": 1, "wide": 3}'},
            "is of format 1, from another version of lesionsplit; this version reads format 3: "
            "make the file again with it",
        ),
        (
            {"k": '{"width": 3, "colour": "red"}'},
            "unknown setting colour; allowed here: width, format; is the file from another version of lesionsplit?",
        ),
        ({"k": "{}"}, "width: is missing; is the file from another version of lesionsplit?"),
        (
            {"k": '{"width": 4}'},
            "the weights do not fit their own card (weight is F32 1 x 3; needed: F32 1 x 4)",
        ),
        (
            {"k": '{"width": NaN}'},
            "width is nan; allowed: finite numbers; is the file from another version of lesionsplit?",
        ),
        (
            {"k": '{"width": 1e999}'},
            "width is inf; allowed: finite numbers; is the file from another version of lesionsplit?",
        ),
        ({"k": 99999 * "[" + 99999 * "]"}, "its card is not a JSON object; make the file again"),
        (
            {"k": '{"width": 900000000000}'},  # 3.6 TB, which is not asked for
            "the weights do not fit their own card (weight is F32 1 x 3; needed: F32 1 x 900000000000)",
        ),
    ],
)
def test_bad_cards(kind: WeightsKind[Card], write: Callable[..., Path], metadata: dict[str, str], message: str) -> None:
    path = write(metadata)
    with pytest.raises(WeightsError) as caught:
        kind.read(path, build)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(1, 3)}, "the weights do not fit their own card (bias is missing)"),
        (
            {"weight": torch.zeros(1, 3), "bias": torch.zeros(1), "usual": torch.zeros(())},
            "the weights do not fit their own card (usual has no place)",
        ),
        (
            {"weight": torch.zeros(1, 3, dtype=torch.float16), "bias": torch.zeros(1)},
            "the weights do not fit their own card (weight is F16 1 x 3; needed: F32 1 x 3)",
        ),
        (
            {"weight": torch.zeros(1, 3), "bias": torch.zeros(())},
            "the weights do not fit their own card (bias is F32 scalar; needed: F32 1)",
        ),
        (
            {"weight": torch.tensor([[0.0, torch.nan, 0.0]]), "bias": torch.zeros(1)},
            f"is damaged (a number in weight is not finite); {GIVE}",
        ),
        (
            {"weight": torch.zeros(1, 3), "bias": torch.tensor([-torch.inf])},
            f"is damaged (a number in bias is not finite); {GIVE}",
        ),
    ],
)
def test_bad_tensors(kind: WeightsKind[Card], tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"k": '{"width": 3}'})
    with pytest.raises(WeightsError) as caught:
        kind.read(path, build)
    assert str(caught.value) == f"{path}: {message}"


def test_a_flipped_bit_is_found_in_tensors_and_in_the_card(kind: WeightsKind[Card], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    kind.write(path, Card(width=3), nn.Linear(3, 1))
    whole = path.read_bytes()
    last = bytearray(whole)
    last[-1] ^= 1
    for content in (bytes(last), whole.replace(b'width\\": 3', b'width\\":3 ')):
        assert content != whole
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            kind.read(path, build)
        assert str(caught.value) == f"{path}: is damaged (the content has changed since it was written); {GIVE}"


def test_a_file_that_may_not_be_read(
    kind: WeightsKind[Card], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write({"k": '{"width": 3}'})

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be read \(Permission denied\)$"):
        kind.read(path, build)


def test_files_that_are_not_safetensors(kind: WeightsKind[Card], write: Callable[..., Path], tmp_path: Path) -> None:
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(WeightsError) as caught:
            kind.read(missing, build)
        assert str(caught.value) == f"{missing}: no such file; {GIVE}"
    path = write({"k": '{"width": 3}'})
    kind.read(path, build)
    for content in (b"<html>not found</html>", path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            kind.read(path, build)
        assert str(caught.value).startswith(f"{path}: is not a whole safetensors file (")
        assert str(caught.value).endswith(f"; {GIVE}")
        assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_refused_and_not_run(
    kind: WeightsKind[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="is not a whole safetensors file"):
        kind.read(Path("w.pt"), build)
    assert not Path("exploded").exists()


def test_a_place_that_cannot_be_written_to(kind: WeightsKind[Card], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError):
        kind.write(tmp_path / "file" / "w.safetensors", Card(width=3), nn.Linear(3, 1))


def test_a_format_that_is_not_a_number() -> None:
    with pytest.raises(WeightsError, match=r"^a: is of format two, from another version"):
        parse_card(Card, '{"format": "two", "width": 1}', Path("a"))


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("\nfirst:\nsecond")) == "first"
    assert first_line(ValueError("")) == "ValueError"
    assert first_line(ValueError(200 * "x")) == 120 * "x"
