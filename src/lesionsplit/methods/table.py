"""Every method there is: to add one, write its file and name its settings here."""

from __future__ import annotations

from typing import TypeAlias

from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.synthesis import SynthesisSettings

AnyMethod: TypeAlias = DecompositionSettings | SynthesisSettings | SupervisedSettings
"""Settings of one of the methods; `name` in a file's [method] table says which."""
