"""Weights files: safetensors tensors, with a card about them as JSON in the file's metadata.

Both networks of the package keep their weights like this: the one that splits slices, and the one that finds lungs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lesionsplit.errors import LesionsplitError, WeightsError
from lesionsplit.images import write_bytes
from lesionsplit.models.card import first_line, parse_card, require_file
from lesionsplit.models.tensors import TensorFile, compare, save, shapes_of
from lesionsplit.settings import Settings, to_table

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

C = TypeVar("C", bound=Settings)
N = TypeVar("N", bound=nn.Module)


class _Uninitialised(TorchFunctionMode):
    """Leaves out the first values of weights: on the device "meta" they would import PyTorch's compiler."""

    def __torch_function__(
        self, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", "") == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class WeightsKind(Generic[C]):
    """One kind of weights file: reads and writes it."""

    card: type[C]

    key: str
    """Key of the card in the metadata."""

    owner: str
    """Whose card it is, for messages."""

    command: str
    """The command that writes such files."""

    default: Traversable
    """The file in the package."""

    @contextmanager
    def locate(self, path: Path | None) -> Iterator[Path]:
        """The path of a file, by default the one in the package, which may have to be unpacked first."""
        if path is not None:
            yield path
            return
        with as_file(self.default) as default:
            yield default

    def read(self, path: Path | None, build_network: Callable[[C], N]) -> tuple[C, N]:
        """Read a weights file, by default the one in the package; never runs code from it.

        Args:
            path: the file.
            build_network: makes the network that a card describes.

        Returns:
            The card, and the network with the weights of the file.

        Raises:
            WeightsError: the file is missing, is not safetensors, is not of this kind, or has been changed; its
                weights do not fit its card or are not finite.
        """
        with self.locate(path) as file:
            header = self._open(file)
            card = parse_card(self.card, header.metadata[self.key], file)
            try:
                with torch.device("meta"), _Uninitialised():  # shapes without memory: a card can claim any
                    network = build_network(card)
                compare(header.shapes, shapes_of(network.state_dict()))
            except (ValueError, RuntimeError, LesionsplitError) as error:
                raise WeightsError(f"{file}: the weights do not fit their own card ({first_line(error)})") from None
            try:
                tensors = header.load(self.key)
            except (ValueError, OSError) as error:
                raise WeightsError(f"{file}: is damaged ({first_line(error)}); {self._give}") from None
            network.load_state_dict(tensors, assign=True)  # all its tensors are in its state
        return card, network

    def write(self, path: Path, card: C, network: nn.Module) -> None:
        """Write a weights file, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        write_bytes(path, save(network.state_dict(), self.key, json.dumps(to_table(card))), durable=True)

    @property
    def _give(self) -> str:
        return f"give a weights file that `lesionsplit {self.command}` wrote"

    def _open(self, path: Path) -> TensorFile:
        require_file(path, self.command)
        try:
            header = TensorFile.open(path)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise WeightsError(f"{path}: is not a whole safetensors file ({error}); {self._give}") from None
        if self.key not in header.metadata:
            raise WeightsError(f"{path}: is safetensors but has no card of {self.owner}; {self._give}")
        return header
