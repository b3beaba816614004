"""All methods; to add one, write its file and add its settings here."""

from __future__ import annotations

from typing import TypeAlias

from lesionsplit.methods.bl import BlSettings
from lesionsplit.methods.classifier import CamSettings, GradCamSettings
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.separation import SeparationSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.methods.va_gan import VaGanSettings

AnyMethod: TypeAlias = (
    DecompositionSettings
    | SeparationSettings
    | SynthesisSettings
    | DistilledSettings
    | CamSettings
    | GradCamSettings
    | VaGanSettings
    | BlSettings
    | DiffusionSettings
    | SupervisedSettings
)
"""Settings of one of the methods, selected by `name` in the table [method]."""
