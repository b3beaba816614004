"""Training, by the textbook and by us: a step on given slices, and an epoch from PNG files.

Ways: ``textbook`` takes whole frames, as the paper does; ``textbook, cut`` is the same code on the network's input,
the lungs at the same pixel size, and shows how much of the speed is not the crop's; ``lesionsplit``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from benchmarks.floors import count
from benchmarks.task import CUT, OURS, Task, Work
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import textbook
from lesionsplit.data.cache import prepare
from lesionsplit.data.sampling import Batch, Sampler, Worker
from lesionsplit.data.table import read_table
from lesionsplit.losses import weighted_sum
from lesionsplit.methods.base import bare
from lesionsplit.methods.decomposition import DecompositionMethod, DecompositionSettings
from lesionsplit.training.framework import running_average
from lesionsplit.training.run import RunSettings, read_config

BATCH = 8


def settings_of(options: dict[str, Any]) -> RunSettings:
    """The paper's method at another width and size: `paper-small.toml`, whose crop has the paper's pixels."""
    rows, columns = options["canvas"]
    placed = [f"placement.frame={options['frame']}", f"placement.rows={rows}", f"placement.columns={columns}"]
    wide = [f"method.network.channels={options['channels']}", f"method.critic.channels={options['channels'][:4]}"]
    return read_config("paper-small", placed + wide)


def ours(settings: DecompositionSettings, device: str) -> DecompositionMethod:
    """The package's method, ready for a step."""
    torch.manual_seed(0)
    method = settings.build()
    precision: Any = "bf16-mixed" if device == "cuda" else "32-true"
    method.setup(Fabric(accelerator=device, devices=1, precision=precision))
    return method


def theirs(settings: DecompositionSettings, device: str) -> textbook.Trainer:
    """The textbook's, with the same first weights."""
    torch.manual_seed(0)
    fresh = settings.build()
    network, critic = textbook.Network(settings.network.channels), textbook.Critic(settings.critic.channels)
    textbook.same_weights(network, fresh.network)
    textbook.same_weights(critic, fresh.critic)
    return textbook.Trainer(network.to(device), critic.to(device), settings.optimisation.learning_rate)


def loss_of(terms: dict[str, Tensor], settings: DecompositionSettings) -> Tensor:
    """The network's loss, weighed."""
    weights = settings.objective
    names = ("reconstruction", "fidelity", "adversarial")
    return weighted_sum({name: terms[name] for name in names}, {name: getattr(weights, name) for name in names})


def step(way: str, options: dict[str, Any]) -> Task:
    """Steps on the same batches over and over."""
    settings, device = settings_of(options).method, options["device"]
    frame = options["frame"]
    shape = (BATCH, 1, *(options["canvas"] if way in (CUT, OURS) else (frame, frame)))
    random = torch.Generator().manual_seed(0)
    batches = [
        Batch(*((torch.rand(shape, generator=random) - 0.5).to(device) for _ in range(2)))
        for _ in range(options["steps"])
    ]
    losses: list[float] = []
    if way == OURS:
        method = ours(settings, device)
        modules = [bare(method.network), method.critic]

        def run(several: list[Batch] = batches) -> None:
            terms = [method.step(batch, 0) for batch in several]
            losses.extend(float(loss_of(one, settings)) for one in terms)

    else:
        trainer = theirs(settings, device)
        modules = [trainer.network, trainer.critic]

        def run(several: list[Batch] = batches) -> None:
            losses.extend(trainer.step(batch.normal, batch.lesion) for batch in several)

    def work() -> Work:
        one = count(lambda: run(batches[:1]), modules, batches[0].images.nbytes, trains=True)
        return Work(one.macs / (2 * BATCH), one.bytes / (2 * BATCH))

    torch.manual_seed(0)
    warmup_steps = options.get("warmup_steps", True)
    return Task(run, 2 * BATCH * len(batches), work, lambda: {"losses": losses}, warmup_steps)


def epoch(way: str, options: dict[str, Any]) -> Task:
    """Every slice of each label once, from files that nothing has been prepared of."""
    settings, device = settings_of(options), options["device"]
    table = read_table(Path(options["data"])).without_masks()
    normal, lesion = ([row.image for row in table.labelled(label)] for label in ("normal", "lesion"))
    steps = len(normal) // BATCH
    if way == OURS:
        cache = Path(options["data"]).with_name("cache")

        def run() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            method = ours(settings.method, device)
            average = running_average(method, settings.training.ema_decay)
            slices = prepare(table, settings.placement, folder=cache)
            sampler = Sampler(slices, settings.augmentation, batch_size=BATCH, seed=0, worker=Worker(device=device))
            for number in range(steps):
                method.step(sampler.draw(number), number)
                average.update_parameters(bare(method.network))

    else:

        def run() -> None:
            trainer = theirs(settings.method, device)
            pairs = textbook.Pairs(normal, lesion, options["frame"], mean=0.45, std=0.15)
            for batch in DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True):
                trainer.step(*(slices.to(device) for slices in batch))

    return Task(run, 2 * BATCH * steps, None, dict, warmup_steps=False)
