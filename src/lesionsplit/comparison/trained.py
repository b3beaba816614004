"""What an entry needs that a comparison has trained: its network, read as the entry wants it, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lesionsplit.comparison.plan import run_folder
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.errors import SettingsError
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.runtime import Runtime
from lesionsplit.settings import from_table, merged, to_table
from lesionsplit.training.checkpoint import read_progress
from lesionsplit.training.run import Run, RunSettings


def load_trained(
    config: ComparisonSettings, entry: EntrySettings, seed: int, out: Path, runtime: Runtime
) -> tuple[SlicePredictor, dict[str, Any]]:
    """The network of an entry, or of the entry that it reads, and what its training cost: fields of `result.Cost`.

    Raises:
        RunError, SettingsError, WeightsError: see their messages.
    """
    run = Run.open(run_folder(out, entry if entry.reads is None else config.named(entry.reads), seed))
    if entry.reads is None:
        predictor = SlicePredictor.load(run.weights, device=runtime.device, engine=runtime.engine)
    else:
        model = Model.load(run.weights)
        card = msgspec.structs.replace(model.card, method=method_of(entry, model.card.method))
        predictor = SlicePredictor(TorchEngine(Model(card, model.network), runtime.device))
    training = run.settings.training
    return predictor, {
        "training_seconds": read_progress(run.checkpoint)["seconds"] if run.checkpoint.is_file() else None,
        "slices_seen": training.steps * 2 * training.batch_size,
        "threads": run.facts().get("threads"),
    }


def method_of(entry: EntrySettings, trained: AnyMethod) -> AnyMethod:
    """The method with which an entry uses the network of another entry.

    Raises:
        SettingsError: a setting is not allowed, or the annotator would change.
    """
    changed = merged({"method": to_table(trained)}, {"method": entry.method})
    if "name" in entry.method and entry.method["name"] != to_table(trained).get("name"):
        changed = {"method": {"network": to_table(trained)["network"], **entry.method}}
    method = from_table(RunSettings, changed, source=f"entry {entry.name!r}").method
    # `Model` checks that the weights fit the method
    if method.annotator != trained.annotator:
        raise SettingsError(f"entry {entry.name!r}: reads {entry.reads!r}, so method.annotator cannot be changed")
    return method
