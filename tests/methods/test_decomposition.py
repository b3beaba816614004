from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from lesionsplit.data.sampling import Batch
from lesionsplit.methods.decomposition import (
    DecompositionMethod,
    DecompositionSettings,
    Objective,
    Optimisation,
    distance,
    heat_map,
    objective,
)
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import Decomposition, NetworkSettings

SHAPE = (2, 1, 2, 2)


def flat(value: float) -> torch.Tensor:
    return torch.full(SHAPE, value)


class Mean(nn.Module):
    """A critic that rates by mean grey."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((1, 2, 3))


BATCH = Batch(normal=flat(0.1), lesion=flat(0.6))
NORMAL = Decomposition(healthy=flat(0.0), lesion=flat(0.2))
LESION = Decomposition(healthy=flat(0.3), lesion=flat(0.2))


def test_the_terms_are_equations_1_2_and_4() -> None:
    terms = objective(BATCH, NORMAL, LESION, Mean(), Objective())
    values = {name: term.item() for name, term in terms.items()}
    assert values == pytest.approx(
        {
            "reconstruction": (abs(0.1 - 0.2) + abs(0.6 - 0.5)) / 2,
            "fidelity": 0.1,
            "adversarial": -(0.0 + 0.3) / 2,
        }
    )


def test_p_may_be_two() -> None:
    terms = objective(BATCH, NORMAL, LESION, Mean(), Objective(distance="l2"))
    assert terms["fidelity"].item() == pytest.approx(0.01)
    assert terms["reconstruction"].item() == pytest.approx(0.01)


def test_p_may_differ_between_the_two() -> None:
    terms = objective(BATCH, NORMAL, LESION, Mean(), Objective(distance="l2", fidelity_distance="l1"))
    assert terms["reconstruction"].item() == pytest.approx(0.01)
    assert terms["fidelity"].item() == pytest.approx(0.1)


def test_edge_weighting_applies_to_equations_1_and_2() -> None:
    step = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 1, 4, 4)
    nothing = Decomposition(healthy=torch.zeros_like(step), lesion=torch.zeros_like(step))
    terms = objective(Batch(step, step), nothing, nothing, Mean(), Objective(edge_weighting=True))
    assert terms["reconstruction"].item() == pytest.approx((4 + 1) / 4)  # the pixel at the step counts four times
    assert terms["fidelity"].item() == pytest.approx((4 + 1) / 4)
    flat = objective(BATCH, NORMAL, LESION, Mean(), Objective(edge_weighting=True))
    assert flat["fidelity"].item() == pytest.approx(0.1)  # a flat image has no edge


def test_lesion_slices_alone_may_be_judged() -> None:
    terms = objective(BATCH, NORMAL, LESION, Mean(), Objective(critic_inputs="lesion"))
    assert terms["adversarial"].item() == pytest.approx(-0.3)


def test_without_a_weight_the_critic_is_not_called() -> None:
    def critic(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    assert "adversarial" not in objective(BATCH, NORMAL, LESION, critic, Objective(adversarial=0.0))  # type: ignore[arg-type]


def test_edges_may_count_more() -> None:
    step = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 4, 4)
    plain = distance(step, torch.zeros_like(step), "l1")
    weighted = distance(step, torch.zeros_like(step), "l1", edges=True)
    assert plain.item() == pytest.approx(0.5)
    assert weighted.item() == pytest.approx((4 + 1) / 4)  # the pixel at the step counts four times


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lesion", [0.5, 0.0, 0.0, 1.0, 0.0]),
        ("lesion-rescaled", [0.75, 0.5, 0.35, 1.0, 0.0]),
        ("residual", [0.35, 0.1, 0.05, 1.05, 0.05]),
        ("residual-positive", [0.35, 0.0, 0.05, 1.0, 0.0]),
    ],
)
def test_heat_maps(kind: str, expected: list[float]) -> None:
    image = torch.tensor([0.9, -0.1, 0.3, 1.0, -1.0])  # the last two lead beyond 0 and 1
    parts = Decomposition(
        healthy=torch.tensor([0.2, 0.1, 0.2, -1.1, -0.9]), lesion=torch.tensor([0.5, 0.0, -0.3, 1.2, -1.2])
    )
    torch.testing.assert_close(heat_map(image, parts, kind), torch.tensor(expected))  # type: ignore[arg-type]


def method(**changes: object) -> DecompositionMethod:
    torch.manual_seed(0)
    settings = DecompositionSettings(
        network=NetworkSettings(channels=(3, 4), norm="none"),
        critic=CriticSettings(channels=(2, 2, 3, 3)),
        **changes,  # type: ignore[arg-type]
    )
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch(of_each: int = 2) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(of_each, 1, 16, 16) - 0.5, torch.rand(of_each, 1, 16, 16) - 0.5)


def copy(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def changed(before: list[torch.Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def test_a_step_trains_critic_and_network() -> None:
    made = method()
    network, critic = copy(made.network), copy(made.critic)
    terms = made.step(batch(), 0)
    assert set(terms) == {"critic", "penalty", "reconstruction", "fidelity", "adversarial"}
    assert not any(term.requires_grad for term in terms.values())
    assert changed(network, made.network)
    assert changed(critic, made.critic)


@pytest.mark.parametrize("critic_inputs", ["all", "lesion"])
def test_steps_of_the_critic_raise_its_rating_of_normal_slices_above_that_of_healthy_versions(
    critic_inputs: str,
) -> None:
    """Equation 3; the network is not trained meanwhile."""
    made = method(
        objective=Objective(critic_inputs=critic_inputs, penalty=0.0),  # type: ignore[arg-type]
        optimisation=Optimisation(critic_warmup_steps=1000, critic_learning_rate=1e-3),
    )
    data = batch()
    with torch.no_grad():
        healthy = made.network(data.images).healthy
        fake = healthy if critic_inputs == "all" else healthy[2:]

    def ratings() -> tuple[float, float]:
        with torch.no_grad():
            return made.critic(data.normal).mean().item(), made.critic(fake).mean().item()

    of_normal, of_fake = ratings()
    term = made.step(data, 0)["critic"].item()
    assert term == pytest.approx(of_fake - of_normal, abs=1e-6)
    for number in range(1, 60):
        made.step(data, number)
    gap = ratings()[0] - ratings()[1]
    assert gap > of_normal - of_fake + 0.05


def test_the_networks_loss_does_not_train_the_critic() -> None:
    made = method()
    made.step(batch(), 0)
    steps = [int(state["step"]) for state in made.critic_optimizer.state.values()]
    assert set(steps) == {1}
    assert all(parameter.requires_grad for parameter in made.critic.parameters())


def test_the_critic_may_go_first_and_more_often() -> None:
    made = method(optimisation=Optimisation(critic_warmup_steps=2, critic_steps=3))
    trained = []
    for number in range(9):
        before = copy(made.network)
        terms = made.step(batch(), number)
        trained.append(changed(before, made.network))
        assert trained[-1] == ("fidelity" in terms)
    assert trained == [False, False, True, False, False, True, False, False, True]


def test_no_adversarial_weight_means_no_critic() -> None:
    made = method(objective=Objective(adversarial=0.0))
    critic = copy(made.critic)
    assert set(made.step(batch(), 0)) == {"reconstruction", "fidelity"}
    assert not changed(critic, made.critic)


def test_the_step_is_the_loss_of_a_plain_implementation() -> None:
    """One network step against the same written without any of our pieces."""
    made, twin = method(), method()
    data = batch(of_each=3)
    made.step(data, 0)
    # The twin's critic is set to what the step's critic became, since it is trained first.
    twin.critic.load_state_dict(made.critic.state_dict())
    images = data.images
    healthy, lesion = twin.network(images)
    loss = (
        100 * (images - healthy - lesion).abs().mean()
        + 100 * (data.normal - healthy[:3]).abs().mean()
        - 0.01 * twin.critic(healthy).mean()
    )
    optimizer = torch.optim.Adam(twin.network.parameters(), lr=2e-4, betas=(0.9, 0.999))
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_it_learns_to_copy_normal_slices() -> None:
    made = method(objective=Objective(adversarial=0.0), optimisation=Optimisation(learning_rate=1e-2))
    ramp = torch.linspace(-0.8, 0.8, 16).expand(2, 1, 16, 16)
    data = Batch(ramp, ramp.transpose(-1, -2))
    first = made.step(data, 0)["fidelity"]
    for number in range(1, 120):
        last = made.step(data, number)["fidelity"]
    assert last < 0.25 * first
