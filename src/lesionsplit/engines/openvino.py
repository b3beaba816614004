"""OpenVINO files, NAME.xml and NAME.bin beside it: written and run by OpenVINO."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.export import ExportedProgram

from lesionsplit.engines.base import INPUT, KEY, Found, Stamp, named, package
from lesionsplit.engines.graph import outputs, quiet
from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.model import ModelCard

EXTRA = "openvino"


def save(program: ExportedProgram, stamp: Stamp, path: Path) -> None:
    """Write a traced model, (B, 1, H, W) for any B, and its stamp.

    Raises:
        SettingsError: OpenVINO is not installed.
        RuntimeError: of OpenVINO, where it has no word for something in it.
    """
    openvino = package("openvino", EXTRA)
    with quiet():
        whole = openvino.convert_model(program)
    rows, columns = stamp.card.placement.canvas
    whole.reshape([-1, 1, rows, columns])
    whole.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(whole.outputs, outputs(program), strict=True):
        output.get_tensor().set_names({name})
    write(whole, stamp, path)


def write(whole: Any, stamp: Stamp, path: Path) -> None:
    """Write an `openvino.Model` with its stamp, in which the digest of the file beside it stands."""
    openvino = package("openvino", EXTRA)
    openvino.save_model(whole, path, compress_to_fp16=False)
    stamp = msgspec.structs.replace(stamp, content=_digest(numbers_of(path)))
    whole.set_rt_info(stamp.to_json(), [KEY])
    openvino.save_model(whole, path, compress_to_fp16=False)


def numbers_of(path: Path) -> Path:
    """The file that holds the numbers of a graph."""
    return path.with_suffix(".bin")


def read_file(path: Path) -> tuple[Any, Stamp]:
    """The `openvino.Model` of a file, and its stamp.

    Raises:
        SettingsError: OpenVINO is not installed.
        WeightsError: a file of the two is missing, broken or not ours, or they do not belong together.
    """
    core = _core()
    for part in (path, numbers_of(path)):
        if not part.is_file():
            raise WeightsError(f"{part}: no such file; give the .xml that `lesionsplit export` wrote, its .bin beside")
    try:
        whole = core.read_model(path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path}: is not a whole OpenVINO file ({reason[:120]})") from None
    text = whole.get_rt_info([KEY]).astype(str) if whole.has_rt_info([KEY]) else None
    stamp = Stamp.from_json(text, path)
    if stamp.content != _digest(numbers_of(path)):
        raise WeightsError(f"{numbers_of(path)}: is not the file that was written with {path.name}; export both again")
    return whole, stamp


def _core() -> Any:
    """OpenVINO itself, one for as long as the process lives.

    Each runs signal handlers on a stack of its own and gives back the one before when it goes. Of two that go in the
    order in which they came, the second gives back what the first has freed, and the next Ctrl-C is a crash.
    """
    return _only_core(package("openvino", EXTRA))


@cache
def _only_core(openvino: Any) -> Any:
    return openvino.Core()


class OpenVinoEngine:
    """Runs an exported file on the CPU, on as many threads as torch would.

    Raises:
        SettingsError, WeightsError: as `read_file`.
    """

    def __init__(self, path: Path) -> None:
        whole, self.stamp = read_file(path)
        options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",  # by default bfloat16 where the CPU has it, which is another score
            "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        }
        self._compiled = _core().compile_model(whole, "CPU", options)

    @property
    def card(self) -> ModelCard:
        """Of the weights that were exported."""
        return self.stamp.card

    @property
    def name(self) -> str:
        """In words."""
        return f"openvino {package('openvino', EXTRA).__version__.partition('-')[0]}, {self.stamp.precision}"

    def read(self, canvases: Float) -> Found:
        """Read canvases, (B, 1, H, W), network grey."""
        return named(list(self._compiled(canvases, share_outputs=False).values()))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
