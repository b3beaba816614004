from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.training.run import Run, read_config
from lesionsplit.training.teachers import TEACHERS, later_steps


def test_the_time_left_counts_every_later_stage(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", read_config("distilled"))
    run.describe(lesion_slices=10)
    teachers = [
        Run(run.folder / TEACHERS / f"{number}-diffusion", read_config("diffusion", [f"seed={number - 1}"]))
        for number in (1, 2)
    ]
    own = 2000 * 128 * 176 / (96 * 128)  # steps of the student in steps of a teacher, by pixels
    predictions = 2 * 10 * 24 / (3 * 2 * 8)  # both teachers' passes, of 48 passes that a step has
    assert later_steps(run, teachers[0]) == pytest.approx(2000 + own + predictions)
    assert later_steps(run, teachers[1]) == pytest.approx(own + predictions)
    assert later_steps(run, run) == 0


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        (DiffusionSettings(), 12),  # four steps to the level, and four back under each label
        (DiffusionSettings(mirror_average=True), 24),
        (DiffusionSettings(heat_map="residual"), 8),
        (DiffusionSettings(guidance=2.0), 20),
        (DiffusionSettings(sampling_method="one-step", draws=6), 12),
    ],
)
def test_passes_of_a_prediction(settings: DiffusionSettings, passes: int) -> None:
    assert settings.forward_passes == passes
