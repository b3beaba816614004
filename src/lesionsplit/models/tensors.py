"""Tensors in safetensors files, checked: the content against its digest, names and shapes against a network's.

What comes from a file may be damaged or made up. Shapes are read from the header and compared before a tensor is
allocated or copied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lesionsplit.models.card import first_line

DIGEST = "sha256"
"""Key of the digest in the metadata. Files of before 0.3.0 have none."""

NAMES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
"""Of dtypes in a header."""

Shapes: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""Dtype, as a header names it, and shape by name."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The header of a file."""

    path: Path
    metadata: Mapping[str, str]
    shapes: Shapes

    @classmethod
    def open(cls, path: Path) -> TensorFile:
        """Read the header.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a whole safetensors file.
        """
        with path.open("rb"):  # an error that says why; that of safetensors is of its own
            pass
        try:
            with safe_open(path, framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
                shapes = {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
                return cls(path, file.metadata() or {}, shapes)
        except SafetensorError as error:
            raise ValueError(first_line(error)) from None

    def load(self, key: str) -> dict[str, Tensor]:
        """Read the tensors.

        Args:
            key: of the text in the metadata that `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file has changed since it was written, or a number is not finite.
        """
        try:
            tensors = safetensors.torch.load_file(self.path)
        except SafetensorError as error:
            raise ValueError(first_line(error)) from None
        if DIGEST in self.metadata and self.metadata[DIGEST] != _digest(self.metadata[key], tensors):
            raise ValueError("the content has changed since it was written")
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"a number in {name} is not finite")
        return {name: tensor.clone() for name, tensor in tensors.items()}  # of no file, which may change or vanish


def save(tensors: Mapping[str, Tensor], key: str, text: str) -> bytes:
    """The content of a file: tensors, a text about them under a key of the metadata, and a digest of both."""
    # Safetensors refuses tensors that share memory, and stores those of one layout only
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return _in_order(safetensors.torch.save(whole, metadata={key: text, DIGEST: _digest(text, whole)}))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata in order: that of safetensors is random, and bytes must be repeatable."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Dtypes and shapes as in a header."""
    return {name: (NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}


def compare(found: Shapes, wanted: Shapes) -> None:
    """Compare the shapes in a file with those that are needed.

    Raises:
        ValueError: they differ; the message has the first difference.
    """
    for name in (*wanted, *found):
        here, there = found.get(name), wanted.get(name)
        if here is None or there is None:
            raise ValueError(f"{name} {'is missing' if here is None else 'has no place'}")
        if here != there:
            raise ValueError(f"{name} is {_words(*here)}; needed: {_words(*there)}")


def _words(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} {' x '.join(map(str, shape)) or 'scalar'}"


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    content = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        content.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()
