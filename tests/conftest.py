"""What tests share: a small phantom, drawn once, and settings that train in seconds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lesionsplit import cores
from lesionsplit.data.augment import Augmentation
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table, read_table
from lesionsplit.memory import give_back_memory
from lesionsplit.methods.decomposition import DecompositionSettings, Objective, Optimisation
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import NetworkSettings
from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
from lesionsplit.training.run import RunSettings, TrainingSettings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    cores.use(1)  # tests run side by side


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the log of errors goes: not into that of the one who runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="module")
def _memory_goes_back() -> Iterator[None]:
    """What a module's tests have used: commands keep it (`memory.keep_freed_memory`), and workers run for long."""
    yield
    gc.collect()
    give_back_memory()


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(folder, PhantomSettings(normal=18, lesion=18, size=128, seed=1))
    return folder


@pytest.fixture(scope="session")
def phantom(phantom_folder: Path) -> Table:
    return read_table(phantom_folder)


@pytest.fixture(scope="session")
def tiny() -> RunSettings:
    """Settings that train a few steps in a second or two."""
    return RunSettings(
        placement=PlacementSettings(rows=32, columns=48, frame=56),
        augmentation=Augmentation(),
        method=DecompositionSettings(
            network=NetworkSettings(channels=(4, 6), start="identity", norm="none"),
            critic=CriticSettings(channels=(4, 4, 6, 6), norm="layer"),
            objective=Objective(critic_inputs="lesion", distance="l2", adversarial=0.3),
            optimisation=Optimisation(learning_rate=1e-3, critic_learning_rate=1e-3, critic_warmup_steps=2),
        ),
        training=TrainingSettings(
            steps=8, batch_size=4, ema_decay=0.5, log_every=2, checkpoint_every=4, picture_every=100
        ),
    )


@pytest.fixture(scope="session")
def covid_cell() -> Path:
    folder = SHARED / "covid-cell"
    if not folder.is_dir():
        pytest.skip(f"the real slices are not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def medseg() -> Path:
    folder = SHARED / "medseg"
    if not folder.is_dir():
        pytest.skip(f"the raw slices are not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def card(tiny: RunSettings) -> ModelCard:
    """What a tiny network's weights would say of themselves."""
    return ModelCard(
        format=3,
        method=tiny.method,
        placement=tiny.placement,
        normalisation=Normalisation(mean=0.42, std=0.1),
        threshold=0.2,
        threshold_from="a guess",
        trained={},
    )


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, tiny: RunSettings, card: ModelCard) -> Path:
    """A weights file of a network that says something about every slice, trained on nothing."""
    torch.manual_seed(11)
    network = tiny.method.build_network()
    for decoder in network.decoders.values():
        torch.nn.init.normal_(decoder.head.weight)  # type: ignore[union-attr, arg-type]
        torch.nn.init.constant_(decoder.head.bias, 0.3)  # type: ignore[union-attr, arg-type]
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    Model(card, network).save(path)
    return path


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """Runs a file that is in no package, given its path in the repository."""

    def run(path: str) -> ModuleType:
        spec = spec_from_file_location(Path(path).stem, ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return run


@pytest.fixture(scope="session")
def make(load: Callable[[str], ModuleType]) -> ModuleType:
    """tests/volumes/make.py: small volumes in every format that is read."""
    return load("tests/volumes/make.py")
