from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn.metrics import average_precision_score, log_loss
from torch import nn

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.sampling import Batch, Sampler
from lesionsplit.data.table import Table
from lesionsplit.images import as_float
from lesionsplit.methods.base import bare
from lesionsplit.methods.bl import BlMethod, BlNet, BlSettings, Objective, Optimisation, objective
from lesionsplit.methods.classifier import ClassifierMethod, ClassifierSettings
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.residual import ResNetSettings
from lesionsplit.networks.translator import TranslatorSettings
from lesionsplit.training.checkpoint import load_checkpoint, save_checkpoint
from lesionsplit.training.framework import running_average

SHAPE = (2, 1, 2, 2)
AT_ONCE = Optimisation(classifier_warmup_steps=1)


def flat(value: float) -> torch.Tensor:
    return torch.full(SHAPE, value)


class Mean(nn.Module):
    """Rates by mean grey."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((1, 2, 3))


class Double(nn.Module):
    """A classifier to which bright is diseased."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 2 * image.mean((1, 2, 3))


def method(**changes: object) -> BlMethod:
    torch.manual_seed(0)
    settings = BlSettings(
        network=TranslatorSettings(channels=(3, 4)),
        classifier=ClassifierSettings(network=ResNetSettings(width=2, stem="fine")),
        critic=CriticSettings(channels=(2, 2, 3, 3)),
        **changes,  # type: ignore[arg-type]
    )
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    return made


def batch(seed: int = 1) -> Batch:
    torch.manual_seed(seed)
    return Batch(torch.rand(2, 1, 16, 16) - 0.5, torch.rand(2, 1, 16, 16) - 0.2)


def everything(module: nn.Module) -> list[torch.Tensor]:
    """Weights and batch norm's statistics."""
    return [value.detach().clone() for value in module.state_dict().values()]


def changed(before: list[torch.Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, everything(module), strict=True))


def test_the_terms_by_hand() -> None:
    data = Batch(normal=flat(0.1), lesion=flat(0.6))
    lesion = flat(0.5)
    lesion[0] = -0.3
    terms = {
        name: term.item()
        for name, term in objective(data, normal=flat(-0.1), lesion=lesion, classifier=Double(), critic=Mean()).items()
    }
    chances = [1 / (1 + math.exp(0.6)), 1 / (1 + math.exp(-1.0))]
    assert terms == pytest.approx(
        {
            "normality": log_loss([0, 0], chances, labels=[0, 1]),
            "closeness": (0.9 + 0.1) / 2,
            "fidelity": 0.2,
            "adversarial": -(-0.3 + 0.5) / 2,
        }
    )


def test_the_reading_is_the_difference() -> None:
    class Healer(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full_like(image, 0.25)

    images = torch.tensor([0.75, -0.25]).view(2, 1, 1, 1)
    reading = BlSettings().infer(Healer(), images)
    assert reading.score.flatten().tolist() == [0.25, 0.25]
    assert reading.healthy.flatten().tolist() == [0.25, 0.25]
    assert BlSettings(heat_map="positive").infer(Healer(), images).score.flatten().tolist() == [0.25, 0.0]


@pytest.mark.parametrize("start", ["random", "identity"])
def test_a_healthy_version_is_in_the_range_of_slices(start: str) -> None:
    torch.manual_seed(0)
    network = BlNet(TranslatorSettings(channels=(3, 4), norm="none", start=start))  # type: ignore[arg-type]
    images = torch.rand(2, 1, 8, 8) * 2 - 1
    assert torch.equal(network(images), images) == (start == "identity")
    for value in (9.0, -9.0):
        nn.init.constant_(network.translator.decoder.head.bias, value)  # type: ignore[arg-type]
        assert network(images).abs().max() <= 1


def test_the_classifier_learns_first_and_alone() -> None:
    made = method(optimisation=Optimisation(classifier_warmup_steps=2))
    network, critic = everything(made.network), everything(made.critic)
    for number in range(2):
        classifier = everything(made.classification.network)
        assert set(made.step(batch(), number)) == {"classification"}
        assert changed(classifier, made.classification.network)
    assert not changed(network, made.network)
    assert not changed(critic, made.critic)
    terms = made.step(batch(), 2)
    assert set(terms) == {"critic", "penalty", "normality", "closeness", "fidelity", "adversarial"}
    assert not any(term.requires_grad for term in terms.values())
    assert changed(network, made.network)
    assert changed(critic, made.critic)


def test_it_is_the_classifier_of_the_class_activation_maps() -> None:
    made = method(optimisation=Optimisation(classifier_warmup_steps=3))
    twin = ClassifierMethod(made.settings.classifier)
    twin.network.load_state_dict(bare(made.classification.network).state_dict())
    twin.setup(Fabric(accelerator="cpu", devices=1))
    for number in range(3):
        made.step(batch(number), number)
        twin.step(batch(number), number)
    assert not changed(everything(bare(twin.network)), bare(made.classification.network))


def test_once_it_has_learnt_nothing_trains_the_classifier() -> None:
    """Neither its weights by G's loss nor batch norm's statistics by what G draws."""
    made = method(optimisation=AT_ONCE)
    made.step(batch(), 0)
    classifier = everything(made.classification.network)
    for number in range(1, 4):
        made.step(batch(), number)
    assert not changed(classifier, made.classification.network)
    assert {int(state["step"]) for state in made.classification.optimizer.state.values()} == {1}
    assert {int(state["step"]) for state in made.critic_optimizer.state.values()} == {3}


def test_the_discriminator_may_learn_more_often() -> None:
    made = method(optimisation=Optimisation(classifier_warmup_steps=1, critic_steps=2))
    trained = []
    for number in range(5):
        network = everything(made.network)
        terms = made.step(batch(), number)
        # batch norm's statistics move with every slice that passes; the weights with a step alone
        trained.append("fidelity" in terms)
        assert {int(state["step"]) for state in made.network_optimizer.state.values()} <= {sum(trained)}
        assert number == 0 or changed(network, made.network)
    assert trained == [False, False, True, False, True]


def test_no_adversarial_weight_means_no_discriminator() -> None:
    made = method(optimisation=AT_ONCE, objective=Objective(adversarial=0.0))
    made.step(batch(), 0)
    critic = everything(made.critic)
    assert set(made.step(batch(), 1)) == {"normality", "closeness", "fidelity"}
    assert not changed(critic, made.critic)


def test_the_step_is_that_of_a_plain_implementation() -> None:
    """Discriminator and G, each against the same written without any of our pieces."""
    weights = Objective(normality=2.0, adversarial=0.5, closeness=30.0, fidelity=40.0)
    made, twin = (method(optimisation=AT_ONCE, objective=weights) for _ in range(2))
    data = batch()
    made.step(data, 0)
    twin.step(data, 0)
    torch.manual_seed(5)
    made.step(data, 1)
    torch.manual_seed(5)
    drawn = torch.tanh(twin.network.translator(torch.cat([data.normal, data.lesion])))
    normal, lesion = drawn[:2], drawn[2:]
    fake = lesion.detach()
    partners = fake[torch.randperm(2)]
    mix = torch.rand(2, 1, 1, 1)
    between = (mix * data.normal + (1 - mix) * partners).requires_grad_()
    (slope,) = torch.autograd.grad(twin.critic(between).sum(), between, create_graph=True)
    penalty = ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
    loss = twin.critic(fake).mean() - twin.critic(data.normal).mean() + 10 * penalty
    optimizer = torch.optim.Adam(twin.critic.parameters(), lr=2e-4, betas=(0.5, 0.9))
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(made.critic.parameters(), twin.critic.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    classifier = bare(twin.classification.network).eval()
    loss = (
        2.0 * -torch.log(1 - classifier(lesion).sigmoid()).mean()
        - 0.5 * twin.critic(lesion).mean()
        + 30 * (data.lesion - lesion).abs().mean()
        + 40 * (data.normal - normal).abs().mean()
    )
    optimizer = torch.optim.Adam(twin.network.parameters(), lr=2e-4, betas=(0.5, 0.9))
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pause", [1, 4])
def test_continued_it_ends_with_the_same_bits(tmp_path: Path, pause: int) -> None:
    """From among the classifier's steps and from after them."""
    unbroken, first, second = (method(optimisation=Optimisation(classifier_warmup_steps=2)) for _ in range(3))

    def go(made: BlMethod, numbers: range) -> None:
        for number in numbers:
            made.step(batch(number), number)

    go(unbroken, range(6))
    go(first, range(pause))
    save_checkpoint(tmp_path / "stand", first.state(), step=pause)
    load_checkpoint(tmp_path / "stand", second.state())
    go(second, range(pause, 6))
    for name, part in unbroken.state().items():
        if isinstance(part, nn.Module):
            assert not changed(everything(part), second.state()[name])


def test_a_slice_is_read_on_its_own() -> None:
    made = method(optimisation=AT_ONCE)
    for number in range(3):
        made.step(batch(number), number)
    made.network.eval()
    images = batch().images
    together = made.settings.infer(made.network, images)
    alone = made.settings.infer(made.network, images[:1])
    torch.testing.assert_close(together.score[:1], alone.score)
    torch.testing.assert_close(together.healthy[:1], alone.healthy)


def test_it_finds_lesions_from_image_labels(tmp_path: Path, phantom: Table) -> None:
    """Average precision, by scikit-learn, of the averaged weights on slices not seen, against the share of lesion."""
    placement = PlacementSettings(rows=32, columns=48, frame=56)
    given = phantom.supervised_by("b")
    slices = prepare(given.split("train"), placement, folder=tmp_path)
    sampler = Sampler(slices, Augmentation(), batch_size=4, seed=1)
    torch.manual_seed(1)
    settings = BlSettings(
        network=TranslatorSettings(channels=(8, 12, 16), norm="none", start="identity"),
        classifier=ClassifierSettings(network=ResNetSettings(width=4, stem="fine"), learning_rate=2e-3, warmup_steps=5),
        critic=CriticSettings(channels=(8, 12, 16, 16)),
        objective=Objective(closeness=10.0, fidelity=10.0),
        optimisation=Optimisation(classifier_warmup_steps=60, learning_rate=1e-3, critic_learning_rate=1e-3),
    )
    made = settings.build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    average = running_average(made, 0.95)
    for number in range(160):
        torch.manual_seed(1000 + number)
        made.step(sampler.draw(number), number)
        average.update_parameters(bare(made.network))
    others = phantom.select(lambda row: row.split != "train" and row.label == "lesion")
    seen = prepare(others, placement, annotator="b", folder=tmp_path / "others")
    images = torch.from_numpy(slices.normalisation.apply(as_float(seen.images))).unsqueeze(1)
    with torch.no_grad():
        score = settings.infer(average.module, images).score.squeeze(1).numpy()
    assert seen.outlines is not None
    inside = np.asarray(seen.images) > 8
    truth = np.asarray(seen.outlines)[inside] >= 128
    assert average_precision_score(truth, score[inside]) > 2 * truth.mean()  # 2.7 to 7.2 times, seeds 0 to 3
