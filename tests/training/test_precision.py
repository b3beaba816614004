"""bf16 learns what fp32 learns: short trainings of three methods, to what the spread of seeds is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn.metrics import average_precision_score

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import PreparedSlices, prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.sampling import Sampler, derive_seed
from lesionsplit.data.table import Table
from lesionsplit.images import as_float
from lesionsplit.methods.base import MethodSettings, bare
from lesionsplit.methods.decomposition import DecompositionSettings, Objective, Optimisation
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import NetworkSettings
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionUNetSettings

PLACEMENT = PlacementSettings(rows=32, columns=48, frame=56)
METHODS: dict[str, MethodSettings] = {
    "decomposition": DecompositionSettings(
        network=NetworkSettings(channels=(6, 12), start="identity", norm="none"),
        critic=CriticSettings(channels=(6, 6, 12, 12), norm="layer"),
        objective=Objective(critic_inputs="lesion", distance="l2", adversarial=0.3),
        optimisation=Optimisation(learning_rate=1e-3, critic_learning_rate=1e-3, critic_warmup_steps=5),
    ),
    "synthesis": SynthesisSettings(
        network=LesionUNetSettings(channels=(6, 12, 16)), learning_rate=3e-3, warmup_steps=5
    ),
    "diffusion": DiffusionSettings(
        network=DenoiserSettings(channels=(8, 12), embedding=8), sampling_steps=2, learning_rate=3e-3, warmup_steps=5
    ),
}


@pytest.fixture(scope="module")
def seen(phantom: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedSlices, PreparedSlices]:
    """Slices to learn from; and others, with what is lesion in them."""
    folder = tmp_path_factory.mktemp("precision")
    others = phantom.select(lambda row: row.split != "train" and row.label == "lesion")
    return (
        prepare(phantom.without_masks().split("train"), PLACEMENT, folder=folder),
        prepare(others, PLACEMENT, annotator="b", folder=folder / "others"),
    )


def trained(
    settings: MethodSettings, precision: str, seed: int, seen: tuple[PreparedSlices, PreparedSlices]
) -> tuple[float, float]:
    """Mean of the loss' terms over the last steps, and average precision on the other slices, by scikit-learn."""
    slices, others = seen
    torch.manual_seed(seed)
    method = settings.build()
    method.setup(Fabric(accelerator="cpu", devices=1, precision=precision))  # type: ignore[arg-type]
    sampler = Sampler(slices, Augmentation(), batch_size=4, seed=seed)
    losses = []
    for number in range(40):
        torch.manual_seed(derive_seed(seed, number))
        terms = method.step(sampler.draw(number), number)
        losses.append(sum(float(value) for value in terms.values()))
        assert all(value.dtype == torch.float32 for value in terms.values())
    images = torch.from_numpy(slices.normalisation.apply(as_float(others.images))).unsqueeze(1)
    with torch.no_grad():
        score = settings.infer(bare(method.network).eval(), images).score.squeeze(1).numpy()
    assert others.outlines is not None
    inside = np.asarray(others.images) > 8
    return np.mean(losses[-10:]), average_precision_score(np.asarray(others.outlines)[inside] >= 128, score[inside])


@pytest.mark.parametrize("name", METHODS)
def test_bf16_learns_what_fp32_learns(name: str, seen: tuple[PreparedSlices, PreparedSlices]) -> None:
    """The means over three seeds are closer than the seeds are: one seed of a critic's alone goes its own way."""
    full, half = (
        np.array([trained(METHODS[name], precision, seed, seen) for seed in range(3)])
        for precision in ("32-true", "bf16-mixed")
    )
    assert not np.array_equal(half, full), "it was not in bf16"
    apart, spread = np.abs(half.mean(axis=0) - full.mean(axis=0)), np.ptp(full, axis=0)
    assert (apart <= spread).all(), f"apart by {apart}, seeds by {spread}"
