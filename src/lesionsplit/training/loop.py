"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from lesionsplit.data.cache import PreparedSlices
from lesionsplit.data.sampling import Sampler, Worker, derive_seed
from lesionsplit.domains.table import domain_of
from lesionsplit.errors import DivergedError, RunError, SettingsError
from lesionsplit.methods.base import Method, bare
from lesionsplit.training.checkpoint import load_checkpoint, save_checkpoint, tensors_of
from lesionsplit.training.framework import Framework, TorchFramework
from lesionsplit.training.record import Measurement, Record
from lesionsplit.training.run import Run
from lesionsplit.training.sample_tiles import write_samples
from lesionsplit.training.stopping import StopRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The result of `fit`."""

    network: nn.Module
    """With the averaged weights."""

    step: int
    finished: bool
    """False: stopped by Ctrl-C or SIGTERM; the run can be continued."""


def fit(
    run: Run,
    slices: PreparedSlices,
    fabric: Fabric,
    watch: Callable[[Measurement], None],
    init_network: nn.Module | None = None,
    framework: Framework | None = None,
) -> Trained:
    """Train a run's method on slices and image labels, from its last checkpoint if there is one.

    All random numbers of a step follow from the run's seed, the step's number and the rank of the process. A run
    that was stopped or killed and then continued therefore ends with the same bits as an uninterrupted one, on the
    CPU with the same number of threads.

    Args:
        run: settings and folder.
        slices: normal and lesion slices on the network's canvas.
        fabric: device, precision and processes; launched.
        watch: called with every measurement, on the first process.
        init_network: the method's network starts from the weights of this one where names and shapes agree; by
            default all weights are fresh.
        framework: computes the steps; by default PyTorch.

    Raises:
        SettingsError: ``init_network`` is another kind of network.
        RunError: the run cannot be continued.
        DivergedError: a term of the loss or a weight is not finite.
    """
    settings = run.settings.training
    torch.manual_seed(run.settings.seed)  # the same fresh weights in every process
    framework = framework or TorchFramework()
    domain = domain_of(slices.kind)
    method: Method = run.settings.method.build(domain)
    if init_network is not None:
        copy_weights(init_network, method.network)
    method = framework.start(method)
    method.setup(fabric)
    average = framework.running_average(method, settings.ema_decay)
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
        worker=Worker(rank=fabric.global_rank, world_size=fabric.world_size, device=fabric.device),
    )
    leads = fabric.is_global_zero
    record = Record(run.folder if leads else None, slices_a_step=2 * settings.batch_size, step=first, seconds=seconds)
    step, stopping = first, False

    def due(every: int) -> bool:
        return step % every == 0 or step == settings.steps or stopping

    with StopRequest() as stop:
        while step < settings.steps and not stopping:
            torch.manual_seed(
                derive_seed(run.settings.seed, step, fabric.global_rank, *run.settings.method.random_stream)
            )
            record.add(method.step(sampler.draw(step), step))
            average.update_parameters(bare(method.network))
            step += 1
            if fabric.world_size == 1 or step % settings.log_every == 0:
                stopping = any_process(stop.requested, fabric)
            if due(settings.log_every) or due(settings.checkpoint_every):
                measured = record.flush(step)
                seconds = measured.seconds
                if leads:
                    watch(measured)
            if leads and due(settings.picture_every):
                write_samples(run.picture(step), run.settings.method, average.module, slices, fabric.device)
            if leads and due(settings.checkpoint_every):
                refuse_broken(state, step)
                save_checkpoint(run.checkpoint, state, step=step, seconds=seconds)
    record.close()
    fabric.barrier()
    return Trained(network=average.module, step=step, finished=step == settings.steps)


def copy_weights(source: nn.Module, network: nn.Module) -> None:
    """Copy the weights of ``source`` into ``network`` where names and shapes agree.

    Raises:
        SettingsError: they agree for less than half of the network's weights.
    """
    own = network.state_dict()
    alike = {
        name: value for name, value in source.state_dict().items() if name in own and value.shape == own[name].shape
    }
    if 2 * sum(value.numel() for value in alike.values()) < sum(value.numel() for value in own.values()):
        raise SettingsError(
            "method.distillation.init_from_teacher: the first teacher's network differs from the student's; copy the "
            "teacher's [method.network], list another teacher first, or set it to false"
        )
    network.load_state_dict(alike, strict=False)


def check_batch_size(batch_size: int, processes: int) -> None:
    """Refuse a batch that cannot be divided evenly among processes.

    Raises:
        RunError: it cannot.
    """
    if batch_size % processes:
        raise RunError(
            f"training.batch_size is {batch_size}; with {processes} processes it must be a multiple of {processes}"
        )


def any_process(stop: bool, fabric: Fabric) -> bool:
    """Whether a stop was requested in any process; all then stop after the same step."""
    if fabric.world_size == 1:
        return stop
    requests = fabric.all_reduce(torch.tensor(float(stop), device=fabric.device), reduce_op="sum")
    return bool(requests > 0)  # type: ignore[operator]


def refuse_broken(state: Mapping[str, Any], step: int) -> None:
    """Refuse a state that is not finite, so that it does not replace the last good checkpoint.

    Raises:
        DivergedError: there are some.
    """
    for owner, part in state.items():
        for name, weight in tensors_of(part):
            if not torch.isfinite(weight).all():
                raise DivergedError(
                    f"the weights {name!r} of {owner} are not finite at step {step}; the last good checkpoint is "
                    "kept: lower a learning rate or a weight and start a new run"
                )
