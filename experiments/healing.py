"""Add the branch that makes healthy versions to weights: `python experiments/healing.py DATA OUT.safetensors`.

The weights are of `distilled`. All other tensors, and so the scores, stay as they are: the branch alone is trained, on
image labels, as `DistilledMethod.step` does. A branch that is there already is replaced. A training with
`[method.healing]` trains it along with the rest.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import prepare
from lesionsplit.data.sampling import Batch, Sampler
from lesionsplit.data.table import read_table
from lesionsplit.losses import masked_mean
from lesionsplit.methods.distilled import DistilledSettings, decompose
from lesionsplit.methods.healing import HealingSettings, healing_target
from lesionsplit.models.card import digest
from lesionsplit.models.model import Model
from lesionsplit.networks.healing import HealingDenoiser
from lesionsplit.settings import from_table, to_table
from lesionsplit.synthesis.fields import lungs_of
from lesionsplit.synthesis.lesions import add_synthetic_lesions
from lesionsplit.synthesis.scanner import simulate_scanner
from lesionsplit.training.run import read_config

WARMUP, DECAY = 30, 0.98


@dataclass(frozen=True)
class Healing:
    """A network whose branch is trained, and its settings."""

    network: HealingDenoiser
    settings: DistilledSettings
    healing: HealingSettings

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean |G2 - target| of the branch in the lungs, a scalar."""
        with torch.no_grad():
            synthetic = add_synthetic_lesions(batch.normal, self.settings.synthetic_lesions.lesions)
            images = torch.cat([synthetic.images, batch.lesion])
            lungs = lungs_of(images)
            seen = simulate_scanner(images, lungs, self.settings.scanner)
        taught, healed = decompose(self.network, seen)
        chance = taught.probability[len(batch.normal) :]
        target = torch.cat([synthetic.images - synthetic.healthy, healing_target(batch.lesion, chance, self.healing)])
        return masked_mean((healed.added - target).abs(), lungs)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--weights", type=Path, help="of `distilled`; by default those in the package")
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--batch", type=int, default=8, help="slices of each label in a step")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--cache", type=Path, help="where prepared slices are kept")
    chosen = options.parse_args()
    before = Model.load(chosen.weights)
    settings, old = before.card.method, before.network
    if not isinstance(settings, DistilledSettings):
        raise SystemExit("give weights of `distilled`")
    kept = {name: value for name, value in old.state_dict().items() if not name.startswith("branch")}
    torch.manual_seed(chosen.seed)
    healing = HealingSettings()
    whole = from_table(DistilledSettings, {**to_table(settings), "healing": to_table(healing)}, source="settings")
    network = whole.build_network()
    assert isinstance(network, HealingDenoiser)  # noqa: S101 - it has [method.healing]
    network.load_state_dict(kept, strict=False)
    network.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    branch = network.branch_parameters()
    for weight in branch:
        weight.requires_grad_(True)
    slices = prepare(read_table(chosen.data).split("train"), before.card.placement, folder=chosen.cache)
    augmentation: Augmentation = read_config("distilled").augmentation
    sampler = Sampler(slices, augmentation, batch_size=chosen.batch, seed=chosen.seed)
    optimizer = AdamW(branch, whole.learning_rate, fused=True)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY))  # type: ignore[no-untyped-call]
    trainer, mean = Healing(network, whole, healing), 0.0
    for step in range(chosen.steps):
        for group in optimizer.param_groups:  # warm-up, then a cosine to zero
            group["lr"] = whole.learning_rate * min(
                (step + 1) / WARMUP, (1 + math.cos(math.pi * step / chosen.steps)) / 2
            )
        loss = trainer.loss(sampler.draw(step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update_parameters(network)
        mean += loss.item() / 20
        if step % 20 == 19:
            print(f"step {step + 1} of {chosen.steps}  loss {mean:.4f}", flush=True)
            mean = 0.0
    trained = {
        **before.card.trained,
        "healing": f"added to {digest(chosen.weights)[:16]}, {chosen.steps} steps of "
        f"{2 * chosen.batch} slices, seed {chosen.seed}",
    }
    card = from_table(
        type(before.card), {**to_table(before.card), "method": to_table(whole), "trained": trained}, source="card"
    )
    healed = average.module
    healed.load_state_dict(kept, strict=False)  # an average of equal numbers is rounded
    Model(card, healed.requires_grad_(True)).save(chosen.out)


if __name__ == "__main__":
    main()
