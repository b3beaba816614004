from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lesionsplit.cli.train_lungs import train_lungs as command
from lesionsplit.errors import DataError, DivergedError
from lesionsplit.lungs.resample import SIDE
from lesionsplit.training.lungs.network import LungModel
from lesionsplit.training.lungs.samples import Sample, samples_of
from lesionsplit.training.lungs.train import LungTraining, objective, train_lungs


@pytest.fixture(scope="module")
def hosts(chest) -> list[Sample]:
    return samples_of(chest.volume)[4:10]


def weights(model: LungModel) -> torch.Tensor:
    return torch.cat([tensor.flatten().float() for tensor in model.network.state_dict().values()])


def test_the_same_seed_gives_the_same_weights(hosts: list[Sample]) -> None:
    short = LungTraining(steps=2, batch_size=2)
    one, two = (train_lungs(hosts, [], short, data="a chest") for _ in range(2))
    torch.testing.assert_close(weights(one), weights(two), rtol=0, atol=0)
    other = train_lungs(hosts, [], LungTraining(steps=2, batch_size=2, seed=1), data="a chest")
    assert not torch.equal(weights(one), weights(other))
    assert one.card.trained["data"] == "a chest"
    assert one.card.trained["steps"] == "2"


def test_a_short_training_learns_something(hosts: list[Sample]) -> None:
    model = train_lungs(hosts, [], LungTraining(steps=45, batch_size=2), data="a chest")
    shares = model.shares(torch.from_numpy(np.stack([one.image for one in hosts])[:, None])).numpy()[:, 0]
    lungs = np.stack([one.lungs for one in hosts]) > 0.5
    assert shares[lungs].mean() > shares[~lungs].mean() + 0.3


def test_the_objective_is_cross_entropy_and_dice() -> None:
    lungs = torch.zeros(1, 1, 4, 4)
    lungs[..., :2] = 1
    half = objective(torch.zeros(1, 1, 4, 4), lungs)
    assert half.item() == pytest.approx(np.log(2) + 0.5 * (1 - (2 * 4 + 1) / (8 + 8 + 1)), rel=1e-5)
    assert objective(40 * (lungs - 0.5), lungs).item() == pytest.approx(0, abs=1e-6)


def test_a_loss_that_is_no_number_stops_it() -> None:
    bad = Sample(np.full((SIDE, SIDE), np.nan, np.float32), np.zeros((SIDE, SIDE), np.float32))
    with pytest.raises(DivergedError, match=r"step 0: the loss is nan; train again with another --seed"):
        train_lungs([bad], [], LungTraining(steps=1, batch_size=1), data="nothing")


def test_the_command(chest, phantom_folder: Path, tmp_path: Path) -> None:
    ct, out = tmp_path / "ct" / "a.nii", tmp_path / "lungs.safetensors"
    ct.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(chest.volume.array, chest.volume.affine), ct)
    options = ["--ct", str(ct), "--slices", str(phantom_folder), "--take", "3", "--out", str(out), "--steps", "1"]
    options += ["--phantom", "2"]
    result = CliRunner().invoke(command, [*options, "--threads", "1"], standalone_mode=False, catch_exceptions=False)
    assert result.exit_code == 0
    assert (
        LungModel.load(out).card.trained["data"] == "15 slices of a; 3 slices of phantom; 2 slices of the phantom in HU"
    )


def test_the_command_needs_a_volume(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--ct", str(tmp_path / "empty"), "--out", str(tmp_path / "w.safetensors")]
    with pytest.raises(DataError):
        CliRunner().invoke(command, options, standalone_mode=False, catch_exceptions=False)
