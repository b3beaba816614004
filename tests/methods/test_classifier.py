from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from lightning_fabric import Fabric
from torch import nn

from lesionsplit.data.sampling import Batch
from lesionsplit.methods.classifier import (
    CamSettings,
    ClassifierMethod,
    GradCamSettings,
    class_activation,
    gradient_activation,
)
from lesionsplit.networks.residual import ResNet, ResNetSettings

SMALL = ResNetSettings(width=4, stem="fine")


def network() -> ResNet:
    torch.manual_seed(0)
    made = ResNet(SMALL)
    with torch.no_grad():  # statistics that are not those of fresh layers
        for _ in range(3):
            made(torch.rand(4, 1, 32, 48))
    return made.eval().requires_grad_(False)


def images() -> torch.Tensor:
    return torch.rand(3, 1, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_class_activation_map_by_hand() -> None:
    head = nn.Linear(2, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, -3.0]]))
        head.bias.copy_(torch.tensor([0.5]))
    features = torch.tensor([[[[1.0, 0.0]], [[0.0, 4.0]]]])
    assert torch.equal(class_activation(features, head).detach(), torch.tensor([[[[2.5, -11.5]]]]))


def test_its_mean_is_the_slices_logit() -> None:
    net = network()
    found = class_activation(net.features(images()), net.head)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), net(images()))


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_grad_cam_is_captums(stage: int) -> None:
    net = network()
    found, logit = gradient_activation(net, images(), stage)  # type: ignore[arg-type]
    reference = LayerGradCam(net, net.stages[stage - 1])
    given = images().requires_grad_()
    expected = reference.attribute(given, relu_attributions=True)
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(logit, net(images()))


def test_at_the_last_stage_grad_cam_is_the_positive_side_of_cam() -> None:
    net = network()
    features = net.features(images())
    found, _ = gradient_activation(net, images(), 4)
    pixels = features.shape[-1] * features.shape[-2]
    expected = (class_activation(features, net.head) - net.head.bias).relu() / pixels
    torch.testing.assert_close(found, expected)


def test_maps_are_read_raw() -> None:
    """Enlarged, on one scale for all slices; the chance of CAM, and of Grad-CAM that above none."""
    net = network()
    reading = CamSettings(network=SMALL).infer(net, images())
    large = F.interpolate(class_activation(net.features(images()), net.head), size=(32, 48), mode="bilinear")
    torch.testing.assert_close(reading.score, large.sigmoid())
    assert reading.presence is not None
    torch.testing.assert_close(reading.presence, net(images()).sigmoid())
    settings = GradCamSettings(network=SMALL, stage=3)
    evidence, _ = gradient_activation(net, images(), 3)
    large = F.interpolate(evidence * evidence.shape[-1] * evidence.shape[-2], size=(32, 48), mode="bilinear")
    torch.testing.assert_close(settings.infer(net, images()).score, 2 * large.sigmoid() - 1)
    assert torch.equal(settings.infer(net, images()).healthy, images())


def test_grad_cam_can_be_read_where_nothing_is_differentiated() -> None:
    net = network()
    settings = GradCamSettings(network=SMALL, stage=2)
    expected = settings.infer(net, images()).score
    with torch.inference_mode():
        torch.testing.assert_close(settings.infer(net, images()).score, expected)


def test_the_step_is_that_of_a_plain_implementation() -> None:
    def method() -> ClassifierMethod:
        torch.manual_seed(0)
        made = CamSettings(network=SMALL, warmup_steps=2, learning_rate=1e-3).build()
        made.setup(Fabric(accelerator="cpu", devices=1))
        return made

    made, twin = method(), method()
    batch = Batch(images()[:2], images()[1:])
    terms = made.step(batch, 0)
    logit = twin.network(torch.cat([batch.normal, batch.lesion]))
    loss = -torch.cat([F.logsigmoid(-logit[:2]), F.logsigmoid(logit[2:])]).mean()
    assert terms["classification"].item() == pytest.approx(loss.item(), rel=1e-5)
    optimizer = torch.optim.AdamW(twin.network.parameters(), lr=5e-4, weight_decay=0.01)
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(made.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_learns_which_slices_are_brighter() -> None:
    torch.manual_seed(0)
    made = CamSettings(network=SMALL, learning_rate=3e-3, warmup_steps=5).build()
    made.setup(Fabric(accelerator="cpu", devices=1))
    normal, lesion = torch.rand(4, 1, 32, 32) * 0.5, torch.rand(4, 1, 32, 32) * 0.5
    lesion[:, :, 8:16, 16:28] += 0.5
    losses = [made.step(Batch(normal, lesion), number)["classification"].item() for number in range(40)]
    assert losses[-1] < 0.1 < losses[0]
