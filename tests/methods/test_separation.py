from __future__ import annotations

import copy
import math

import msgspec
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.errors import SettingsError
from lesionsplit.methods.critics import PatchSettings, View, shape_blind
from lesionsplit.methods.separation import (
    Objective,
    Optimisation,
    Pretraining,
    SeparationMethod,
    SeparationSettings,
    objective,
)
from lesionsplit.networks.denoiser import Condition, DenoiserSettings
from lesionsplit.synthesis.fields import lungs_of
from lesionsplit.training.run import RunSettings, TrainingSettings

SETTINGS = SeparationSettings(
    network=DenoiserSettings(channels=(8, 12), embedding=8),
    pretraining=Pretraining(steps=2, warmup_steps=2),
    optimisation=Optimisation(transplant_from_step=1),
)


def built(settings: SeparationSettings = SETTINGS) -> SeparationMethod:
    torch.manual_seed(0)
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    normal, lesion = (torch.rand(2, 1, 16, 16, generator=generator) - 0.5 for _ in range(2))
    for images in (normal, lesion):
        images[:, :, :2] = -1.0  # black, by which the rest is known for lung
    return Batch(normal, lesion)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


class Answers(nn.Module):
    """A network with one answer: logit of m, d, and v."""

    def __init__(self, *answers: float) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, noisy: Tensor, _lungs: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        assert (level == 0).all()
        assert (condition == Condition.LESION).all()
        return torch.cat([torch.full_like(noisy, one) for one in self.answers], dim=1)


def test_the_parts_add_up_to_the_slice_exactly() -> None:
    """Eq. 1, with G2 = m softplus(d) in the lungs."""
    images = batch().lesion
    lungs = lungs_of(images)
    found = SETTINGS.infer(Answers(0.4, -0.3, 9.0), images)
    g2 = 1 / (1 + math.exp(-0.4)) * math.log(1 + math.exp(-0.3))
    np.testing.assert_allclose((images - found.healthy).numpy(), g2 * lungs.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.score.numpy(), g2 / 2 * lungs.numpy(), atol=1e-6)
    probability = msgspec.structs.replace(SETTINGS, heat_map="probability").infer(Answers(0.4, -0.3, 9.0), images)
    np.testing.assert_allclose(probability.score.numpy(), lungs.numpy() / (1 + math.exp(-0.4)), atol=1e-6)


def test_the_scale_changes_the_odds_and_keeps_none_and_all() -> None:
    """Against logarithms: the logit of the score is logit_scale times that of half of G2, plus that of the odds."""
    settings = msgspec.structs.replace(SETTINGS, score_odds=1.5, logit_scale=0.55)
    images = batch().lesion
    inside = lungs_of(images) > 0
    half = math.log(1 + math.exp(-0.3)) / (1 + math.exp(-0.4)) / 2
    expected = 1 / (1 + math.exp(-0.55 * math.log(half / (1 - half)) - math.log(1.5)))
    score = settings.infer(Answers(0.4, -0.3, 9.0), images).score
    np.testing.assert_allclose(score[inside], expected, rtol=1e-5)
    assert (score[~inside] == 0).all()
    assert (settings.infer(Answers(-200.0, 0.0, 9.0), images).score == 0).all()
    assert (settings.infer(Answers(200.0, 50.0, 9.0), images).score[inside] == 1).all()


def test_slices_and_mirror_images_are_averaged() -> None:
    made, images = built(), batch().lesion
    nn.init.normal_(made.network.head.weight)  # type: ignore[union-attr, arg-type]
    network = made.network.module  # type: ignore[union-attr]
    found, mirrored = (SETTINGS.infer(network, one) for one in (images, images.flip(3)))
    torch.testing.assert_close(found.score, mirrored.score.flip(3), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.healthy, mirrored.healthy.flip(3), rtol=1e-4, atol=1e-6)


def test_without_lesion_decoder_the_change_has_either_sign_and_the_score_is_what_is_taken_off() -> None:
    settings, images = msgspec.structs.replace(SETTINGS, lesion_decoder=False), batch().lesion
    lungs = lungs_of(images)
    for change in (0.25, -0.25):
        found = settings.infer(Answers(change, 1.0, 1.0), images)
        np.testing.assert_allclose((images - found.healthy).numpy(), change * lungs.numpy(), atol=1e-6)
        np.testing.assert_allclose(found.score.numpy(), max(change, 0) / 2 * lungs.numpy(), atol=1e-6)


def test_the_terms_are_equations_2_and_4_and_sparsity_over_the_lungs() -> None:
    lungs = torch.tensor([[[[1.0, 1.0, 1.0, 0.0]]]])
    normal = View(torch.tensor([[[[0.1, 0.2, 0.3, -1.0]]]]), lungs)
    lesion = View(torch.tensor([[[[0.5, 0.6, 0.1, -1.0]]]]), lungs)
    found = torch.tensor([[[[0.1, 0.0, -0.2, 9.0]]]]), torch.tensor([[[[0.3, 0.6, 0.0, 9.0]]]])
    direction = torch.tensor([[[[-2.0, -1.0, 0.5, 0.0]]]])
    terms = objective(normal, lesion, found, direction)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "fidelity": 0.3 / 3,
            "sparsity": 0.9 / 3,
            "adversarial": -(-2.0 * 0.2 + -1.0 * 0.0 + 0.5 * 0.1) / 3,
        }
    )
    assert set(objective(normal, lesion, found, None)) == {"fidelity", "sparsity"}


def test_shape_blind_slices_have_the_same_outline() -> None:
    one, other = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    one[..., :3], other[..., 1:] = 1.0, 1.0
    normal, healed = shape_blind(View(one * 0.3, one), View(other * 0.6, other))
    both = torch.tensor([[0.0, 1.0, 1.0, 0.0]] * 2)
    for view, grey in ((normal, 0.3), (healed, 0.6)):
        assert torch.equal(view.lungs[0, 0], both)
        torch.testing.assert_close(view.images[0, 0], torch.where(both > 0, grey, -1.0))


def test_pretraining_trains_the_denoiser_alone_and_the_critic_begins_as_its_copy() -> None:
    made = built()
    critic, network = weights(made.critic), weights(made.network)
    assert set(made.step(batch(), 0)) == {"denoising"}
    assert made.network_optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)  # half of it in the first of two steps
    made.step(batch(), 1)
    assert not changed(made.critic, critic)
    after = changed(made.network, network)
    assert any("stem" in name for name in after)
    pixels = made.settings.network.patch**2
    head = made.network.state_dict()[next(name for name in after if name.endswith("head.weight"))]
    assert not head[: 2 * pixels].any()  # m and d are not trained yet
    assert head[2 * pixels :].any()
    copied: list[dict[str, Tensor]] = []
    made.critic.start_from = lambda denoiser: copied.append(weights(denoiser))  # type: ignore[method-assign, assignment]
    pretrained = weights(made.network.module)  # type: ignore[union-attr, operator]
    made.step(batch(), 2)
    made.step(batch(), 3)
    (copy_of,) = copied
    assert all(torch.equal(value, copy_of[name]) for name, value in pretrained.items())


def test_terms_come_when_they_are_due() -> None:
    settings = msgspec.structs.replace(
        SETTINGS, optimisation=Optimisation(critic_warmup_steps=1, critic_steps=2, transplant_from_step=3)
    )
    made = built(settings)
    kinds = [set(made.step(batch(), number)) for number in range(8)]
    network = {"critic", "fidelity", "sparsity", "adversarial"}
    assert kinds[:2] == [{"denoising"}] * 2
    assert kinds[2:] == [{"critic"}, network, {"critic"}, network, {"critic"}, network | {"transplant"}]


def test_the_network_follows_the_critic() -> None:
    """With a critic that asks for darker slices, G2 grows in slices with lesion, and is held down in normal ones."""
    settings = msgspec.structs.replace(
        SETTINGS, pretraining=Pretraining(steps=0), objective=Objective(transplant=0.0, sparsity=0.15)
    )
    made, data = built(settings), batch()
    made.critic.towards_normal = lambda healed: -torch.ones_like(healed.images)  # type: ignore[method-assign, assignment, union-attr]
    bright = data._replace(lesion=torch.where(lungs_of(data.lesion) > 0, data.lesion + 0.4, data.lesion))
    for number in range(40):
        terms = made.step(bright, number)
    assert terms["sparsity"] > 5 * terms["fidelity"]
    assert terms["sparsity"] > 0.1


def test_without_critic_none_is_trained() -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        objective=Objective(adversarial=0.0),
        critic=PatchSettings(),
        optimisation=Optimisation(critic_warmup_steps=5, critic_steps=3, transplant_from_step=1),
    )
    made = built(settings)
    critic = weights(made.critic)
    terms = [set(made.step(batch(), number)) for number in range(5)]
    assert terms[2:] == [{"fidelity", "sparsity"}, *[{"fidelity", "sparsity", "transplant"}] * 2]
    assert not changed(made.critic, critic)


def test_the_first_step_of_the_network_is_that_of_a_plain_implementation() -> None:
    """G2 and its terms in double loops of numpy, the rest from the parts that other tests pin."""
    settings = msgspec.structs.replace(SETTINGS, pretraining=Pretraining(steps=0))
    made, data = built(settings), batch()
    twin = copy.deepcopy(made.network.module)  # type: ignore[union-attr]
    terms = made.step(data, 0)
    with torch.no_grad():
        logit, density, _ = twin(data.images * 3.0, lungs_of(data.images), torch.zeros(4), torch.full((4,), 2)).chunk(
            3, 1
        )
    g2 = 1 / (1 + np.exp(-logit.numpy())) * np.log1p(np.exp(density.numpy()))
    inside = lungs_of(data.images).numpy() > 0
    assert terms["fidelity"].item() == pytest.approx(g2[:2][inside[:2]].mean(), rel=1e-5)
    assert terms["sparsity"].item() == pytest.approx(g2[2:][inside[2:]].mean(), rel=1e-5)


def test_a_network_without_lesion_decoder_predicts_no_probability() -> None:
    with pytest.raises(SettingsError, match=r"^method.heat_map: is probability, which .*; set it to lesion$"):
        SeparationSettings(lesion_decoder=False, heat_map="probability")


def test_a_training_that_ends_with_pretraining_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"^training.steps: is 2, but the first 2 are pretraining; give more steps, or"
    ):
        RunSettings(method=SETTINGS, training=TrainingSettings(steps=2))
