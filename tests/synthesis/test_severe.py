"""Slices of which most of the lung is lesion: scored as high as the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import numpy as np
import pytest
import torch

from lesionsplit.data.lung_slice import find_lungs, read_slice
from lesionsplit.data.table import read_table
from lesionsplit.domains import lungs
from lesionsplit.images import Grey, as_float
from lesionsplit.methods.synthesis import Calibration, score
from lesionsplit.models.model import Model
from lesionsplit.phantom.dataset import PhantomSettings, draw_series
from lesionsplit.synthesis.fields import lungs_of

SHARES = (0.3, 0.5, 0.7, 0.9)
"""Of the lung that is lesion."""

GROUND_GLASS, CONSOLIDATION = 0.45, 0.85
"""Opacities."""


Replaced: TypeAlias = Callable[[torch.Tensor, float, float], tuple[torch.Tensor, torch.Tensor]]


def on_canvas(images: list[Grey]) -> torch.Tensor:
    """Lung-masked slices as the weights in the package are shown them."""
    card = Model.load().card
    placed = [card.placement.place(find_lungs(image)).apply(as_float(image)) for image in images]
    return card.normalisation.apply(torch.from_numpy(np.stack(placed)).unsqueeze(1))


@pytest.fixture(scope="module")
def replaced(load: Callable[[str], ModuleType]) -> Replaced:
    """That of experiments/severe.py, which prints what is asserted here."""
    found: Replaced = load("experiments/severe.py").replaced
    return found


@pytest.fixture(scope="module")
def phantoms() -> torch.Tensor:
    """Six normal slices of the phantom."""
    drawn = [draw_series("normal", number, PhantomSettings(size=256))[0] for number in range(6)]
    return on_canvas([one.image for one in drawn])


@pytest.fixture(scope="module")
def real(covid_cell: Path) -> torch.Tensor:
    """Real normal slices, of more than a thin crescent of lung."""
    rows = read_table(covid_cell).split("val").labelled("normal").slices[::18]
    images = on_canvas([read_slice(row).grey for row in rows])
    return images[lungs_of(images).sum(dim=(1, 2, 3)) > 3000]


def known(lesion: torch.Tensor) -> torch.Tensor:
    """Logits of a network that knows where lesion is."""
    return torch.where(lesion, 5.0, -7.0)


@pytest.mark.parametrize("opacity", [GROUND_GLASS, CONSOLIDATION])
def test_the_severest_slices_score_no_lower(replaced: Replaced, phantoms: torch.Tensor, opacity: float) -> None:
    """From a slice of which 30 % is lesion to one of which 90 % is, within 2 %."""
    means = []
    for share in SHARES:
        images, lesion = replaced(phantoms, share, opacity)
        assert lesion.sum().item() == pytest.approx(share * lungs_of(phantoms).sum().item(), rel=0.01)
        means.append(score(known(lesion), images, Calibration())[lesion].mean().item())
    assert min(means) > 0.98 * means[0]


def test_nor_where_all_of_the_lung_is_lesion(replaced: Replaced, phantoms: torch.Tensor) -> None:
    """Nothing is left to measure parenchyma on; within 15 %."""
    scores = []
    for share in (0.3, 1.0):
        images, lesion = replaced(phantoms, share, CONSOLIDATION)
        scores.append(score(known(lesion), images, Calibration())[lesion].mean())
    assert scores[1] > 0.85 * scores[0]


@pytest.mark.parametrize("opacity", [GROUND_GLASS, CONSOLIDATION])
def test_the_severest_slices_score_no_lower_by_the_weights_in_the_package(
    replaced: Replaced, real: torch.Tensor, opacity: float
) -> None:
    """Network and score together, within 3 %."""
    means = []
    for share in SHARES:
        images, lesion = replaced(real, share, opacity)
        means.append(Model.load().infer(images).score[lesion].mean().item())
    assert min(means) > 0.97 * means[0]
    assert means[0] > 0.5


def whole_lung(monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.Tensor]:
    """The score with the median over the whole lung for parenchyma."""
    monkeypatch.setattr(lungs, "parenchyma_grey", lambda _, field, __: field.parenchyma)
    return score


def test_normal_slices_score_as_by_their_whole_lung(phantoms: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a network that takes the densest twentieth of each lung for lesion: within 3 %, and none lower."""
    lungs = lungs_of(phantoms) > 0
    densest = torch.stack([one[inside].quantile(0.95) for one, inside in zip(phantoms, lungs, strict=True)])
    logit = known(lungs & (phantoms > densest.view(-1, 1, 1, 1)))
    found = score(logit, phantoms, Calibration())
    before = whole_lung(monkeypatch)(logit, phantoms, Calibration())
    assert before.mean() > 0
    assert found.mean() < 1.03 * before.mean()
    assert (found >= before).all()


def test_a_slice_that_is_mostly_lesion_used_to_score_low(
    replaced: Replaced, phantoms: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above are about; and a slice with little lesion scores as before, within 5 %."""
    images, lesion = replaced(phantoms, 0.9, CONSOLIDATION)
    few, little = replaced(phantoms, 0.05, CONSOLIDATION)
    now = [score(known(lesion), images, Calibration()), score(known(little), few, Calibration())]
    whole_lung(monkeypatch)
    before = [score(known(lesion), images, Calibration()), score(known(little), few, Calibration())]
    assert now[0][lesion].mean() > 2 * before[0][lesion].mean()
    assert now[1][little].mean().item() == pytest.approx(before[1][little].mean().item(), rel=0.05)
