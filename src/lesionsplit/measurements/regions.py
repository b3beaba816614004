"""Measure the lungs and their parts from histograms."""

from __future__ import annotations

import numpy as np

from lesionsplit.measurements.histograms import Counts, Histograms, deviation, mean, percentile, within
from lesionsplit.measurements.lobes import LOBES
from lesionsplit.measurements.result import (
    LEFT_LUNG,
    LUNGS,
    NO_HU,
    NO_LESION,
    NO_LUNG,
    NO_SIZE,
    RIGHT_LUNG,
    Missing,
    Region,
    Value,
)
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import LEFT, RIGHT

PERCENTILES = (5, 25, 50, 75, 95)

AIR, WATER = -1000.0, 0.0
"""HU; the density of tissue is about (HU + 1000) / 1000 g/mL."""


def regions(
    histograms: Histograms, voxel_ml: float | None, hounsfield: bool, with_lobes: bool, settings: MeasurementSettings
) -> list[Region]:
    """Measure both lungs, the right, the left, and the lobes if there are any.

    Args:
        histograms: of the whole volume.
        voxel_ml: volume of a voxel; None if it is unknown.
        hounsfield: whether the values are HU.
        with_lobes: whether there are lobes.
        settings: ranges of HU.
    """
    parts = {LUNGS: histograms.of(), RIGHT_LUNG: histograms.of(lung=RIGHT), LEFT_LUNG: histograms.of(lung=LEFT)}
    if with_lobes:
        parts |= {name: histograms.of(lobe=label) for label, name in enumerate(LOBES, 1)}
    return [_region(name, counts, voxel_ml, hounsfield, settings) for name, counts in parts.items()]


def _region(
    name: str, counts: Counts, voxel_ml: float | None, hounsfield: bool, settings: MeasurementSettings
) -> Region:
    """Measure one region; ``counts`` are (2, bins), not lesion and lesion."""
    lung, lesion = counts.sum(axis=0), counts[1]
    lung_voxels, lesion_voxels = int(lung.sum()), int(lesion.sum())
    high_voxels = within(lesion, settings.high_opacity)
    glass_voxels, dense_voxels = within(lesion, *settings.ground_glass), within(lesion, *settings.consolidation)
    aerated_voxels = within(lung, *settings.well_aerated)

    def ml(voxels: int) -> Value:
        return NO_SIZE if voxel_ml is None else voxels * voxel_ml

    def percent(voxels: int) -> Value:
        return 100 * voxels / lung_voxels if lung_voxels else NO_LUNG

    def of_hu(value: Value) -> Value:
        return value if hounsfield else NO_HU

    unknown = NO_HU if not hounsfield else NO_LESION if not lesion_voxels else None
    return Region(
        name=name,
        lung_ml=ml(lung_voxels),
        lesion_ml=ml(lesion_voxels),
        opacity_percent=percent(lesion_voxels),
        high_opacity_percent=of_hu(percent(high_voxels)),
        ground_glass_ml=of_hu(ml(glass_voxels)),
        consolidation_ml=of_hu(ml(dense_voxels)),
        other_lesion_ml=of_hu(ml(lesion_voxels - glass_voxels - dense_voxels)),
        well_aerated_ml=of_hu(ml(aerated_voxels)),
        well_aerated_percent=of_hu(percent(aerated_voxels)),
        lung_mean_hu=of_hu(mean(lung) if lung_voxels else NO_LUNG),
        lesion_mean_hu=unknown or mean(lesion),
        lesion_sd_hu=unknown or deviation(lesion),
        lesion_mass_g=unknown or _mass(lesion, voxel_ml),
        **{f"lesion_p{one}_hu": unknown or percentile(lesion, one) for one in PERCENTILES},
    )


def _mass(lesion: Counts, voxel_ml: float | None) -> float | Missing:
    if voxel_ml is None:
        return NO_SIZE
    grams_per_ml = max(0.0, (mean(lesion) - AIR) / (WATER - AIR))
    return float(np.sum(lesion)) * voxel_ml * grams_per_ml
