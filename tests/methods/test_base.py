from __future__ import annotations

from typing import get_args

import msgspec
import pytest
import torch

from lesionsplit.methods.base import mirror_mean
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import supervision
from lesionsplit.settings import from_table, to_table

AVERAGED = ("diffusion", "distilled", "separation", "supervised", "synthesis")
"""Methods that can average over mirror images."""


def test_only_the_upper_bound_can_name_an_annotator() -> None:
    kinds = set(get_args(AnyMethod))
    named = {kind for kind in kinds if any(field.name == "annotator" for field in msgspec.structs.fields(kind))}
    assert named == {SupervisedSettings}
    for kind in kinds - named:
        assert kind().annotator is None
        assert supervision(kind().annotator) == "image labels only"


def test_an_upper_bound_is_called_one() -> None:
    expected = "masks of annotator b of the train split: a supervised upper bound"
    assert supervision(SupervisedSettings(annotator="b").annotator) == expected


def test_the_mirror_mean_is_that_of_both_in_the_images_own_order() -> None:
    images, lungs = torch.tensor([[[[1.0, 2.0, 6.0]]]]), torch.tensor([[[[0.0, 1.0, 1.0]]]])

    def from_the_left(one: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return one.cumsum(3), one * mask

    sums, masked = mirror_mean(from_the_left, [images, lungs], average=True)
    assert sums.flatten().tolist() == [(1 + 9) / 2, (3 + 8) / 2, (9 + 6) / 2]
    assert masked.flatten().tolist() == [0, 2, 6]
    (alone, _) = mirror_mean(from_the_left, [images, lungs], average=False)
    assert alone.flatten().tolist() == [1, 3, 9]


@pytest.mark.parametrize("kind", get_args(AnyMethod), ids=lambda kind: str(kind.__struct_config__.tag))
def test_a_slice_is_predicted_alone_without_the_mirror_average(kind: type[AnyMethod]) -> None:
    """Those that average do so unless a card says otherwise: older cards, which do not have the setting, too."""
    name = str(kind.__struct_config__.tag)
    settings = kind(annotator="a") if kind is SupervisedSettings else kind()
    assert settings.mirror_average == (name in AVERAGED and name != "diffusion")
    if name not in AVERAGED:
        assert "mirror_average" not in kind.__struct_fields__
        return
    older = {key: value for key, value in to_table(settings).items() if key != "mirror_average"}
    assert from_table(kind, older, source="a card") == settings
    torch.manual_seed(0)
    network, images = settings.build_network().eval(), torch.rand(1, 1, 32, 48) - 0.5
    for weight in network.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    difference = {}
    for average in (True, False):
        one = msgspec.structs.replace(settings, mirror_average=average)
        with torch.no_grad():
            here, there = one.infer(network, images), one.infer(network, images.flip(3))
        difference[average] = (here.score - there.score.flip(3)).abs().max().item()
    assert difference[True] < 1e-5, "the mean is the same for the mirror image"
    assert difference[False] > 1e-4, "one pass is not"
