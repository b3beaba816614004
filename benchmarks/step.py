"""A training step: slices per second and peak memory, beside the textbook's step on the same batches.

The textbook's step is the one that WGAN-GP code has everywhere: the network runs once for the critic
and once more for itself, the critic collects gradients that are thrown away when the network learns,
tensors have the default layout and freed memory goes back to the system. Both print their first loss,
by which one sees that it is the same step.
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from rounds import compare, measure, parser
from torch import Tensor
from torch.optim import Adam

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import weighted_sum
from lesionsplit.memory import keep_freed_memory
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.networks.critic import Critic
from lesionsplit.run import read_config


def textbook(settings: DecompositionSettings, batches: list[Batch]) -> list[float]:
    """A run of the objective in plain PyTorch; the loss of every step."""
    objective, rates = settings.objective, settings.optimisation
    network, critic = settings.build_network(), Critic(settings.critic)
    network_adam = Adam(network.parameters(), rates.learning_rate, rates.betas)
    critic_adam = Adam(critic.parameters(), rates.critic_learning_rate, rates.betas)

    def distance(difference: Tensor, power: str) -> Tensor:
        return (difference.abs() if power == "l1" else difference**2).mean()

    def judged(healthy: Tensor) -> Tensor:
        return healthy if objective.judged == "all" else healthy[len(healthy) // 2 :]

    losses = []
    for batch in batches:
        normal, images = batch.normal, batch.images
        with torch.no_grad():
            fake = judged(network(images).healthy)
        partners = fake[torch.randperm(len(fake))[: len(normal)]]
        critic_loss = critic(fake).mean() - critic(normal).mean()
        mix = torch.rand(len(normal), 1, 1, 1)
        between = (mix * normal + (1 - mix) * partners).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        critic_loss = critic_loss + objective.penalty * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        critic_adam.zero_grad()
        critic_loss.backward()
        critic_adam.step()

        healthy, drawn = network(images)
        loss = (
            objective.reconstruction * distance(images - healthy - drawn, objective.distance)
            + objective.fidelity * distance(normal - healthy[: len(normal)], objective.power_of_fidelity)
            - objective.adversarial * critic(judged(healthy)).mean()
        )
        network_adam.zero_grad()
        loss.backward()
        network_adam.step()
        losses.append(loss.item())
    return losses


def ours(settings: DecompositionSettings, batches: list[Batch]) -> list[float]:
    """The same run by the package; the loss of every step."""
    method = settings.build()
    method.setup(Fabric(accelerator="cpu", devices=1))
    losses = []
    for number, batch in enumerate(batches):
        terms = method.step(batch, settings.optimisation.critic_first + number)
        weighed = {name: terms[name] for name in ("reconstruction", "fidelity", "adversarial")}
        losses.append(float(weighted_sum(weighed, {name: getattr(settings.objective, name) for name in weighed})))
    return losses


def main() -> None:
    options = parser(__doc__.splitlines()[0], steps=6, batch=8).parse_args()
    if options.way is None:
        compare(__file__, options.rounds)
        return
    torch.set_num_threads(options.threads)
    settings = read_config(options.config)
    shape = (options.batch, 1, *settings.placement.canvas)
    random = torch.Generator().manual_seed(0)
    batches = [Batch(*(torch.rand(shape, generator=random) - 0.5 for _ in range(2))) for _ in range(options.steps)]
    if options.way == "lesionsplit":
        keep_freed_memory()
    run = ours if options.way == "lesionsplit" else textbook
    torch.manual_seed(0)
    losses = run(settings.method, batches[:2])
    measure(lambda: run(settings.method, batches), 2 * options.batch * options.steps, second_loss=round(losses[1], 3))


if __name__ == "__main__":
    main()
