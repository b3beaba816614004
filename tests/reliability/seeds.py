"""Small whole files of every kind that is read, made from the phantom and the chest of tests/volumes/make.py."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass, field
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import gdcm
import numpy as np
import pydicom
import torch
from msgspec.structs import replace
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.methods.decomposition import DecompositionSettings, Objective, Optimisation
from lesionsplit.models.card import FORMAT
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import NetworkSettings
from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
from lesionsplit.training.run import RunSettings, TrainingSettings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared" / "data"

SHAPE = (20, 16, 4)
SPACING = (18.0, 20.0, 30.0)

TINY = RunSettings(
    placement=PlacementSettings(rows=32, columns=48, frame=56),
    augmentation=Augmentation(),
    method=DecompositionSettings(
        network=NetworkSettings(channels=(4, 6), start="identity", norm="none"),
        critic=CriticSettings(channels=(4, 4, 6, 6), norm="layer"),
        objective=Objective(critic_inputs="lesion", distance="l2", adversarial=0.3),
        optimisation=Optimisation(learning_rate=1e-3, critic_learning_rate=1e-3, critic_warmup_steps=2),
    ),
    training=TrainingSettings(steps=4, batch_size=2, ema_decay=0.5, log_every=2, checkpoint_every=2, picture_every=4),
)
"""Settings that train in half a second."""


SYNTAXES = ("plain", "implicit", "deflated", "JPEGLS", "RLE", "JPEGLosslessProcess14_1", "JPEGLosslessProcess14",
            "JPEG2000Lossless", "JPEGExtendedProcess2_4")  # fmt: skip
"""Transfer syntaxes; those that begin with JPEG and have a process are gdcm's names."""


@dataclass(frozen=True)
class Seed:
    """A whole file, and the files that stand beside it."""

    name: str
    target: str
    """The file that is changed."""

    files: dict[str, bytes]
    """All files by their path, the target too."""

    about: dict[str, Any] = field(default_factory=dict)
    """What the reader of its kind has to know."""

    def place(self, folder: Path) -> Path:
        """Write the files; returns the path of the target."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / self.target


@cache
def make() -> ModuleType:
    """tests/volumes/make.py."""
    spec = spec_from_file_location("make_volumes", ROOT / "tests/volumes/make.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def phantom(folder: Path, count: int = 3) -> Path:
    """A data set of drawn slices."""
    write_phantom(folder, PhantomSettings(normal=count, lesion=count, size=128, seed=1))
    return folder


def tiny_weights(path: Path) -> Path:
    """Weights that say something about every slice, trained on nothing."""
    torch.manual_seed(11)
    network = TINY.method.build_network()
    for decoder in network.decoders.values():  # type: ignore[union-attr, operator]
        torch.nn.init.normal_(decoder.head.weight)
        torch.nn.init.constant_(decoder.head.bias, 0.3)
    card = ModelCard(
        format=FORMAT,
        method=TINY.method,
        placement=TINY.placement,
        normalisation=Normalisation(mean=0.42, std=0.1),
        threshold=0.2,
        threshold_from="a guess",
        trained={"supervision": "nothing"},
    )
    Model(card, network).save(path)
    return path


def settings_with(**training: int) -> RunSettings:
    """`TINY` with other numbers of steps."""
    return replace(TINY, training=replace(TINY.training, **training))


def series(folder: Path, **tags: Any) -> Path:
    """A DICOM series of a small chest."""
    make().make_series(folder, SHAPE, spacing=SPACING, **tags)
    return folder


def packed_slice(path: Path, syntax: str) -> Path:
    """A DICOM slice in one of `SYNTAXES`."""
    hu = make().chest((48, 40, 3)).hu[..., 1]
    data = make().make_slice(hu, spacing=(8.0, 8.0, 20.0))
    own = {"JPEGLS": JPEGLSLossless, "RLE": RLELossless}
    plain = {"implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
    if syntax in own:
        data.compress(own[syntax], generate_instance_uid=False)
    elif syntax in plain:
        data.file_meta.TransferSyntaxUID = plain[syntax]
    make().write_slice(path, data)
    if syntax.startswith("JPEG") and syntax not in own:
        reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(path))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    return path


def zipped(folder: Path, path: Path) -> Path:
    """An archive of the files of a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files_of(folder).items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def image_files(folder: Path) -> list[Path]:
    """A lung-masked slice as PNG of 8 and 16 bit and with a palette, TIFF, JPEG; and its mask of 8 and 1 bit."""
    folder.mkdir(parents=True)
    chest = make().chest((48, 40, 3))
    hu, lungs = chest.hu[..., 1].T, chest.lungs[..., 1].T > 0
    grey = np.where(lungs, np.clip((hu + 1450) / 1500, 0.1, 1), 0)
    eight, wide = (grey * 255).astype(np.uint8), (grey * 65535).astype(np.uint16)
    Image.fromarray(eight).save(folder / "eight.png")
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(eight).convert("P").save(folder / "palette.png")
    Image.fromarray(eight).save(folder / "grey.tiff", compression="tiff_lzw")
    Image.fromarray(wide).save(folder / "wide.tiff")
    Image.fromarray(eight).save(folder / "grey.jpg", quality=95)
    Image.fromarray(np.where(lungs, 255, 0).astype(np.uint8)).save(folder / "mask.png")
    Image.fromarray(lungs).save(folder / "bit.png")
    return sorted(folder.iterdir())


def real_seeds() -> list[Path]:
    """Files of real scanners, where they are; never part of this repository."""
    found = [SHARED / "covid-ny-sbu", SHARED / "lidc-idri-0001"]
    files = [path for folder in found if folder.is_dir() for path in sorted(folder.glob("*.dcm"))[:2]]
    slices = SHARED / "covid-cell" / "images"
    return files + (sorted(slices.rglob("*.[pj][np]g"))[:2] if slices.is_dir() else [])


def clean(folder: Path) -> Path:
    """An empty folder in its place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
