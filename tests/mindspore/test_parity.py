"""MindSpore computes what PyTorch computes, in float32, from the same weights, slices and random numbers.

PyTorch's layout here is the usual one. With channels_last, which training uses, its batch norm is less exact on
lung-masked slices, by more than these tests allow.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from lightning_fabric import Fabric
from tests.mindspore.conftest import Draw, method
from torch import nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms, weighted_sum
from lesionsplit.methods.decomposition import DecompositionMethod as TorchMethod
from lesionsplit.methods.decomposition import DecompositionSettings, critic_inputs, heat_map, objective
from lesionsplit.networks.decomposition import Decomposition
from lesionsplit.training.framework import running_average

mindspore = pytest.importorskip("mindspore", reason="mindspore is not installed: make test-mindspore")

from lesionsplit.mindspore.average import RunningAverage  # noqa: E402
from lesionsplit.mindspore.losses import gradient_penalty  # noqa: E402
from lesionsplit.mindspore.methods import decomposition as twin  # noqa: E402
from lesionsplit.mindspore.networks.critic import Critic  # noqa: E402
from lesionsplit.mindspore.networks.decomposition import DecompositionNet  # noqa: E402
from lesionsplit.mindspore.tensors import as_tensor, load  # noqa: E402

STEPS = 20

KINDS = ("lesion", "lesion-rescaled", "residual", "residual-positive")

CASES = {
    "batch, separate": method({"norm": "batch"}, "layer"),
    "batch, shared": method({"norm": "batch", "decoders": "shared"}, "layer", critic_inputs="lesion"),
    "instance, separate, the paper's critic": method({"norm": "instance"}, "none"),
    "instance, shared, edges": method({"norm": "instance", "decoders": "shared"}, "layer", edge_weighting=True),
    "none, separate, identity": method({"norm": "none", "start": "identity"}, "layer", distance="l2"),
    "none, shared": method({"norm": "none", "decoders": "shared"}, "layer", distance="l2", fidelity_distance="l1"),
    "no critic": method({"norm": "none"}, "none", adversarial=0.0),
}


@dataclass
class Pair:
    """A method in both frameworks after some steps; of the first, the terms and the optimisers' first moments.

    ``exact``: those of the network in PyTorch with float64.
    """

    torch: TorchMethod
    ours: twin.DecompositionMethod
    terms: tuple[Terms, Terms]
    moments: dict[str, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]
    exact: dict[str, torch.Tensor]
    averages: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def trained(request: pytest.FixtureRequest, draw: Draw) -> Pair:
    torch.set_num_threads(1)
    settings: DecompositionSettings = request.param
    pair = start(settings)
    average = running_average(pair.torch, 0.9)  # type: ignore[arg-type]
    own_average = RunningAverage(pair.ours.network, 0.9, settings.build_network)
    before = copy.deepcopy(pair.torch.network).double()
    for number in range(STEPS):
        terms = both_step(pair, draw(number), number)
        average.update_parameters(pair.torch.network)
        own_average.update_parameters(pair.ours.network)
        if number == 0:
            pair.terms = terms
            pair.moments = {name: first_moments(pair, name) for name in ("network", "critic")}
            pair.exact = exact_moments(before, pair.torch, draw(0))
    pair.averages = average.state_dict(), own_average.state_dict()
    return pair


def start(settings: DecompositionSettings) -> Pair:
    torch.manual_seed(0)
    method = settings.build()
    ours = twin.DecompositionMethod(settings, method)
    method.fabric = Fabric(accelerator="cpu", devices=1)  # without `setup`, which makes it channels_last
    return Pair(method, ours, ({}, {}), {}, {}, ({}, {}))


def both_step(pair: Pair, batch: Batch, number: int) -> tuple[Terms, Terms]:
    results = []
    for one in (pair.torch, pair.ours):
        torch.manual_seed(number)  # the same random numbers
        results.append(one.step(batch, number))
    return results[0], results[1]


def first_moments(pair: Pair, name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Adam's first moments by weight: after one step, a tenth of the gradients."""
    owner = {"network": pair.torch.network, "critic": pair.torch.critic_loss}[name]
    optimizer = {"network": pair.torch.network_optimizer, "critic": pair.torch.critic_optimizer}[name]
    theirs = {
        weight: optimizer.state[parameter]["exp_avg"].clone()
        for weight, parameter in owner.named_parameters()
        if parameter in optimizer.state
    }
    ours = pair.ours.state()[f"{name}_optimizer"].state_dict()
    return theirs, {weight: ours[f"{name}.exp_avg.{weight}"] for weight in theirs}


def test_terms_of_the_losses_are_equal(trained: Pair) -> None:
    theirs, ours = trained.terms
    assert list(ours) == list(theirs)
    for name in theirs:
        # The critic has learnt before it is asked; for one and the same critic see the test of the adversarial term
        tolerance = 1e-4 if name == "adversarial" else 1e-5
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=tolerance, abs=tolerance), name


def test_gradients_are_equal(trained: Pair) -> None:
    """Where PyTorch's own float32 is off, as by the sign of a feature that is 0 but for rounding, float64 counts."""
    for owner, (theirs, ours) in trained.moments.items():
        for name, gradient in theirs.items():
            equal = near(ours[name], gradient, 1e-4)
            if owner == "network" and not near(gradient, trained.exact[name], 5e-5):
                equal = near(ours[name], trained.exact[name], 1e-4)
            assert equal, name


def near(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return bool((one - other).norm() <= tolerance * other.norm())


def exact_moments(network: nn.Module, method: TorchMethod, batch: Batch) -> dict[str, torch.Tensor]:
    """Adam's first moments of the network in float64; the critic is that after its own step."""
    settings = method.settings.objective
    critic = copy.deepcopy(method.critic).double()
    batch = Batch(batch.normal.double(), batch.lesion.double())
    parts = network(batch.images)
    normal, lesion = map(Decomposition._make, zip(*(part.chunk(2) for part in parts), strict=True))
    terms = objective(batch, normal, lesion, critic, settings)
    weighted_sum(terms, {name: getattr(settings, name) for name in terms}).backward()
    return {name: 0.1 * parameter.grad for name, parameter in network.named_parameters()}  # type: ignore[operator]


def test_weights_and_statistics_are_equal_after_some_steps(trained: Pair) -> None:
    state, own = trained.torch.state(), trained.ours.state()
    for owner in ("network", "critic_loss"):
        theirs, ours = state[owner].state_dict(), own[owner].state_dict()
        assert list(ours) == list(theirs)
        for name, weight in theirs.items():
            assert ours[name].dtype == weight.dtype
            difference = (ours[name] - weight).abs()
            if owner == "critic_loss" and name.endswith("bias"):
                difference = difference[~only_rounding(trained.torch, name)]
            assert difference.numel() == 0 or difference.max() <= 1e-3, (name, difference)


def only_rounding(method: TorchMethod, name: str) -> torch.Tensor:
    """Where the gradient of a bias of the critic has been rounding alone, which Adam turns into steps of full length.

    It is so where the bias adds the same to all ratings.
    """
    parameter = dict(method.critic_loss.named_parameters())[name]
    if parameter not in method.critic_optimizer.state:
        return torch.ones_like(parameter, dtype=torch.bool)  # no critic
    return method.critic_optimizer.state[parameter]["exp_avg_sq"].sqrt() < 1e-7


def test_running_averages_are_equal(trained: Pair) -> None:
    theirs, ours = trained.averages
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        # The average of a count of batches is cut to a whole number; nothing reads it
        tolerance = 1 if name.endswith("num_batches_tracked") else 1e-3
        assert (ours[name] - value).abs().max() <= tolerance, name


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("decoders", ["separate", "shared"])
def test_forward_passes_are_equal(norm: str, decoders: str, draw: Draw) -> None:
    """Also after training, in which batch norm gathers its statistics, and for every kind of heat map."""
    settings = method({"norm": norm, "decoders": decoders})
    torch.manual_seed(1)
    network = settings.build_network()
    images = draw(0).images
    with torch.no_grad():
        for _ in range(5):
            network(images)
        parts = network.eval()(images)
    own = DecompositionNet.build(settings.network)
    load(own.get_parameters(), network.state_dict())

    def infer(images):  # type: ignore[no-untyped-def]
        parts = own(images)
        return (*parts, *[twin.heat_map(images, parts, kind) for kind in KINDS])

    healthy, lesion, *maps = (torch.tensor(one.asnumpy()) for one in mindspore.jit(infer)(as_tensor(images)))
    torch.testing.assert_close(healthy, parts.healthy, rtol=0, atol=1e-5)
    torch.testing.assert_close(lesion, parts.lesion, rtol=0, atol=1e-5)
    for kind, found in zip(KINDS, maps, strict=True):
        torch.testing.assert_close(found, heat_map(images, parts, kind), rtol=0, atol=1e-5)


def test_the_critic_is_equal(draw: Draw) -> None:
    for norm in ("none", "instance", "layer"):
        settings = method({}, norm)
        torch.manual_seed(2)
        critic = settings.build().critic
        own = Critic(settings.critic)
        load(own.get_parameters(), critic.state_dict())
        images = draw(1).images
        ratings = torch.tensor(mindspore.jit(own)(as_tensor(images)).asnumpy())
        torch.testing.assert_close(ratings, critic(images).detach(), rtol=0, atol=1e-5)


def test_the_adversarial_term_is_equal_for_the_same_critic(draw: Draw) -> None:
    """In a step it is measured after the critic has learnt."""
    settings = method({"norm": "instance"})
    pair = start(settings)
    batch = draw(2)
    with torch.no_grad():
        parts = pair.torch.network(batch.images)
        normal, lesion = map(Decomposition._make, zip(*(part.chunk(2) for part in parts), strict=True))
        expected = objective(batch, normal, lesion, pair.torch.critic, settings.objective)
        assert len(critic_inputs(normal, lesion, settings.objective)) == 8
    ours = pair.ours

    def terms(images):  # type: ignore[no-untyped-def]
        return twin.objective(images, ours.network(images), ours.critic_loss.critic, settings.objective)

    for name, found in zip(expected, mindspore.jit(terms)(as_tensor(batch.images)), strict=True):
        assert found.asnumpy() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-5), name


def test_the_penalty_of_a_flat_critic_is_one_and_its_gradient_zero(draw: Draw) -> None:
    """The norm has no derivative at zero; PyTorch's is zero there, and so is ours, not NaN."""
    critic = Critic(method({}).critic)
    for parameter in critic.get_parameters():
        parameter.set_data(mindspore.ops.zeros_like(parameter))
    weights = mindspore.ParameterTuple(critic.get_parameters())

    def penalty(real, fake, mix):  # type: ignore[no-untyped-def]
        return gradient_penalty(critic, real, fake, mix)

    found = mindspore.jit(mindspore.value_and_grad(penalty, None, weights))
    value, gradients = found(*map(as_tensor, (draw(0).normal, draw(0).lesion, torch.full((4, 1, 1, 1), 0.5))))
    assert value.asnumpy() == 1
    assert all((gradient.asnumpy() == 0).all() for gradient in gradients)


def test_the_critic_learns_alone_in_its_warm_up(draw: Draw) -> None:
    settings = method({"norm": "batch"}, "layer", critic_warmup_steps=1)
    pair = start(settings)
    before = pair.ours.state()["network"].state_dict()
    theirs, ours = both_step(pair, draw(0), 0)
    assert list(ours) == list(theirs) == ["critic", "penalty"]
    for name in theirs:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5, abs=1e-5), name
    after, expected = pair.ours.state()["network"].state_dict(), pair.torch.network.state_dict()
    for name, weight in before.items():
        changed = not torch.equal(after[name], weight)
        assert changed == ("running" in name or "num_batches" in name), name
        torch.testing.assert_close(after[name], expected[name], rtol=1e-5, atol=1e-6)
