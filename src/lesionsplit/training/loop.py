"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lesionsplit.data.cache import PreparedSlices
from lesionsplit.data.sampling import Sampler, derive_seed
from lesionsplit.errors import DivergedError, RunError, SettingsError
from lesionsplit.methods.base import Method, bare
from lesionsplit.run import Run
from lesionsplit.training.checkpoint import load_checkpoint, save_checkpoint
from lesionsplit.training.pictures import draw_samples
from lesionsplit.training.record import Measurement, Record
from lesionsplit.training.stopping import StopRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a call of `fit` came to."""

    network: nn.Module
    """The averaged weights."""

    step: int
    finished: bool
    """False: stopped by Ctrl-C or SIGTERM; it can be continued."""


def fit(
    run: Run,
    slices: PreparedSlices,
    fabric: Fabric,
    watch: Callable[[Measurement], None],
    begin_as: nn.Module | None = None,
) -> Trained:
    """Train a run's method on slices and image labels, from where its folder stands.

    All that is random in a step follows from the run's seed, the step's number and the process' rank,
    so that a run that was stopped or killed and continued ends with the bits of an unbroken one (on
    the CPU, with as many threads).

    Args:
        run: settings and folder; a checkpoint in it is continued from.
        slices: normal and lesion slices on the network's canvas.
        fabric: device, precision and processes; launched.
        watch: is told of every measurement, on the first process.
        begin_as: a network whose weights the method's begins with, but for those of another shape, as a last layer
            with other outputs; by default all are fresh.

    Raises:
        SettingsError: ``begin_as`` is another kind of network.
        RunError: the run cannot be continued.
        DivergedError: a term of the loss or a weight is not finite.
    """
    settings = run.settings.training
    torch.manual_seed(run.settings.seed)  # the same fresh weights in every process
    method = run.settings.method.build()
    if begin_as is not None:
        begin(method.network, begin_as)
    method.setup(fabric)
    average = running_average(method, settings.ema_decay)
    state = {**method.state(), "average": average}
    first, seconds = 0, 0.0
    if run.checkpoint.is_file():
        progress = load_checkpoint(run.checkpoint, state)
        first, seconds = int(progress["step"]), progress["seconds"]
    sampler = Sampler(
        slices,
        run.settings.augmentation,
        batch_size=settings.batch_size,
        seed=run.settings.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        device=fabric.device,
    )
    leads = fabric.is_global_zero
    record = Record(run.folder if leads else None, slices_a_step=2 * settings.batch_size, step=first, seconds=seconds)
    step, stopping = first, False

    def due(every: int) -> bool:
        return step % every == 0 or step == settings.steps or stopping

    with StopRequest() as stop:
        while step < settings.steps and not stopping:
            torch.manual_seed(derive_seed(run.settings.seed, step, fabric.global_rank, *run.settings.method.stream))
            record.add(method.step(sampler.draw(step), step))
            average.update_parameters(bare(method.network))
            step += 1
            if fabric.world_size == 1 or step % settings.log_every == 0:
                stopping = agreed(stop.requested, fabric)
            if due(settings.log_every) or due(settings.checkpoint_every):
                measured = record.flush(step)
                seconds = measured.seconds
                if leads:
                    watch(measured)
            if leads and due(settings.picture_every):
                draw_samples(run.picture(step), run.settings.method, average.module, slices, fabric.device)
            if leads and due(settings.checkpoint_every):
                refuse_broken(state, step)
                save_checkpoint(run.checkpoint, state, step=step, seconds=seconds)
    record.close()
    fabric.barrier()
    return Trained(network=average.module, step=step, finished=step == settings.steps)


def begin(network: nn.Module, other: nn.Module) -> None:
    """Give a network the weights of another one that have the same name and shape.

    Raises:
        SettingsError: those are less than half of its weights.
    """
    own = network.state_dict()
    alike = {
        name: value for name, value in other.state_dict().items() if name in own and value.shape == own[name].shape
    }
    if 2 * sum(value.numel() for value in alike.values()) < sum(value.numel() for value in own.values()):
        raise SettingsError(
            "method.teaching.begin_as_first: the first teacher's network is another than the student's; give "
            "[method.network] the teacher's settings, name another teacher first, or set it to false"
        )
    network.load_state_dict(alike, strict=False)


def check_shares(batch_size: int, processes: int) -> None:
    """Refuse a batch that cannot be shared out evenly.

    Raises:
        RunError: it cannot.
    """
    if batch_size % processes:
        raise RunError(
            f"training.batch_size is {batch_size}; with {processes} processes it must be a multiple of {processes}"
        )


def running_average(method: Method, decay: float) -> AveragedModel:
    """The exponential moving average of the network's weights, batch norm's statistics included."""
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(bare(method.network), multi_avg_fn=averaging, use_buffers=True)


def agreed(stop: bool, fabric: Fabric) -> bool:
    """Whether any process was asked to stop, so that all stop after the same step."""
    if fabric.world_size == 1:
        return stop
    asked = fabric.all_reduce(torch.tensor(float(stop), device=fabric.device), reduce_op="sum")
    return bool(asked > 0)  # type: ignore[operator]


def refuse_broken(state: Mapping[str, Any], step: int) -> None:
    """Keep weights, and what is kept beside them, that are not numbers from replacing the last good checkpoint."""
    modules = {name: part for name, part in state.items() if isinstance(part, nn.Module)}
    for owner, module in modules.items():
        for name, weight in chain(module.named_parameters(), module.named_buffers()):
            if not torch.isfinite(weight).all():
                raise DivergedError(
                    f"the weights {name!r} of {owner} are not finite at step {step}; the last good checkpoint is "
                    "kept: lower a learning rate or a weight and start a new run"
                )
