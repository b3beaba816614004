from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.errors import RunError, SettingsError
from lesionsplit.run import Run, RunSettings, read_config

CONFIGS = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.toml"))


def test_the_packages_settings_are_all_there() -> None:
    names = "demo diffusion distilled paper paper-demo paper-small small supervised synthesis"
    assert names.split() == CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_the_packages_settings_are_sound(name: str) -> None:
    settings = read_config(name)
    stride = settings.method.stride
    assert all(side % stride == 0 for side in settings.placement.canvas)
    settings.method.build()


def test_the_paper_is_as_printed() -> None:
    settings = read_config("paper")
    assert (settings.placement.kind, settings.placement.canvas) == ("frame", (256, 256))
    assert settings.method.network.channels == (64, 128, 256, 512, 1024)
    objective = settings.method.objective
    assert (objective.adversarial, objective.reconstruction, objective.fidelity) == (0.01, 100, 100)
    assert objective.penalty == 10
    assert settings.method.optimisation.learning_rate == settings.method.optimisation.critic_learning_rate == 2e-4
    assert settings.training.batch_size == 8
    changes = settings.augmentation
    assert not any((changes.flip, changes.rotation, changes.scale, changes.shift, changes.gain, changes.offset))
    assert settings.training.steps * settings.training.batch_size >= 40 * 1349


def test_the_small_paper_differs_in_size_only() -> None:
    paper, small = read_config("paper"), read_config("paper-small")
    assert small.method.objective == paper.method.objective
    assert small.method.optimisation == paper.method.optimisation
    assert small.augmentation == paper.augmentation
    assert small.method.heat_map == paper.method.heat_map
    assert small.method.network.norm == paper.method.network.norm
    assert len(small.method.network.channels) == len(paper.method.network.channels)
    assert small.training.steps == paper.training.steps


def test_the_upper_bound_differs_in_what_it_is_told_only() -> None:
    bound, weak = read_config("supervised"), read_config("distilled")
    assert (bound.method.annotator, weak.method.annotator) == ("a", None)
    assert bound.placement == weak.placement
    assert bound.augmentation == weak.augmentation
    assert bound.training.ema_decay == weak.training.ema_decay
    assert bound.training.steps == weak.training.steps
    assert bound.training.batch_size == weak.training.batch_size
    for name in ("network", "scanner", "learning_rate", "warm_up", "rim", "neighbours", "reach"):
        assert getattr(bound.method, name) == getattr(weak.method, name)
    assert read_config("supervised", ["method.annotator=b"]).method.annotator == "b"


def test_a_file_and_changes_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("seed = 4\n[training]\nsteps = 30\n[method]\nname = 'decomposition'\n")
    settings = read_config(str(tmp_path / "mine.toml"), ["training.steps=40", "method.objective.fidelity=7"])
    assert (settings.seed, settings.training.steps, settings.method.objective.fidelity) == (4, 40, 7.0)


def test_settings_that_are_not_there_are_named() -> None:
    with pytest.raises(
        SettingsError,
        match=r"nothing: no such settings; .* demo, diffusion, distilled, paper, paper-demo, paper-small, small, "
        r"supervised, synthesis",
    ):
        read_config("nothing")


def test_a_run_starts_in_a_folder_of_its_own(tmp_path: Path) -> None:
    Run.create(tmp_path / "new", RunSettings())
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", RunSettings())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="has something in it"):
        Run.create(tmp_path / "file", RunSettings())
    with pytest.raises(RunError, match="has something in it"):
        Run.create(tmp_path, RunSettings())


def test_a_run_is_opened_with_its_own_settings(tmp_path: Path, tiny: RunSettings) -> None:
    Run.create(tmp_path / "run", tiny).describe(data="somewhere")
    run = Run.open(tmp_path / "run")
    assert run.settings == tiny
    assert run.data() == Path("somewhere")
    assert Run.open(tmp_path / "run", steps=99).settings.training.steps == 99
    with pytest.raises(RunError, match="holds no run"):
        Run.open(tmp_path)


def test_a_run_without_facts_asks_for_its_data(tmp_path: Path, tiny: RunSettings) -> None:
    run = Run.create(tmp_path / "run", tiny)
    run.describe()
    with pytest.raises(RunError, match="give --data"):
        run.data()
    (tmp_path / "run/run.json").write_text('{"data": "some')
    assert run.facts() == {}
