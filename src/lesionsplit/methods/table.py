"""Every method there is: to add one, write its file and name its settings here."""

from __future__ import annotations

from typing import TypeAlias

from lesionsplit.methods.bl import BlSettings
from lesionsplit.methods.classifier import CamSettings, GradCamSettings
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.methods.va_gan import VaGanSettings

AnyMethod: TypeAlias = (
    DecompositionSettings
    | SynthesisSettings
    | DistilledSettings
    | CamSettings
    | GradCamSettings
    | VaGanSettings
    | BlSettings
    | DiffusionSettings
    | SupervisedSettings
)
"""Settings of one of the methods; `name` in a file's [method] table says which."""
