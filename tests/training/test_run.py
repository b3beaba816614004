from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.atomic import LOCK
from lesionsplit.errors import RunError, SettingsError
from lesionsplit.settings import to_toml
from lesionsplit.training.run import Run, RunSettings, read_config

CONFIGS = sorted(path.stem for path in (Path(__file__).parents[2] / "src/lesionsplit/configs").glob("*.toml"))


def test_the_packages_settings_are_all_there() -> None:
    names = "demo diffusion distilled paper paper-demo paper-small quick separation small supervised synthesis"
    assert names.split() == CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_the_packages_settings_are_sound(name: str) -> None:
    settings = read_config(name)
    stride = settings.method.network.stride
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


def test_the_upper_bound_differs_from_distilled_in_the_masks_only() -> None:
    bound, weak = read_config("supervised"), read_config("distilled")
    assert (bound.method.annotator, weak.method.annotator) == ("a", None)
    assert bound.placement == weak.placement
    assert bound.augmentation == weak.augmentation
    assert bound.training.ema_decay == weak.training.ema_decay
    assert bound.training.steps == weak.training.steps
    assert bound.training.batch_size == weak.training.batch_size
    for name in (
        "network",
        "scanner",
        "learning_rate",
        "warmup_steps",
        "pleural_margin",
        "neighbour_weight",
        "margin_pixels",
    ):
        assert getattr(bound.method, name) == getattr(weak.method, name)
    assert read_config("supervised", ["method.annotator=b"]).method.annotator == "b"


def test_a_file_and_changes_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("seed = 4\n[training]\nsteps = 30\n[method]\nname = 'decomposition'\n")
    settings = read_config(str(tmp_path / "mine.toml"), ["training.steps=40", "method.objective.fidelity=7"])
    assert (settings.seed, settings.training.steps, settings.method.objective.fidelity) == (4, 40, 7.0)


def test_settings_that_are_not_there_are_named() -> None:
    with pytest.raises(
        SettingsError,
        match=r"nothing: is neither a file nor a config; .* demo, diffusion, distilled, paper, paper-demo, "
        r"paper-small, quick, separation, small, supervised, synthesis",
    ):
        read_config("nothing")


def test_a_run_starts_in_a_folder_of_its_own(tmp_path: Path) -> None:
    Run.create(tmp_path / "new", RunSettings())
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", RunSettings())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path / "file", RunSettings())
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path, RunSettings())


def test_of_two_runs_at_once_in_one_folder_the_second_is_refused(tmp_path: Path, tiny: RunSettings) -> None:
    """Both have found the folder empty."""
    first, second = (Run.create(tmp_path / "run", one) for one in (tiny, RunSettings()))
    first.describe(data="somewhere")
    with pytest.raises(RunError, match=r"run: is not empty; continue a run with --resume, or give a new folder"):
        second.describe(data="elsewhere")
    assert Run.open(tmp_path / "run").settings == tiny
    assert first.data() == Path("somewhere")
    first.describe(data="moved")  # its own, and continued ones, may be described again
    Run.open(tmp_path / "run").describe(data="there")
    assert first.data() == Path("there")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.json", "settings.toml"]


@pytest.mark.parametrize("written", [[], ["settings.toml"]])
def test_a_run_killed_while_it_claims_its_folder_can_go_on(
    tmp_path: Path, tiny: RunSettings, written: list[str]
) -> None:
    """Before it has settings, it is repeated by the same command; from then on, by --resume."""
    run = tmp_path / "run"
    run.mkdir()
    (run / LOCK).touch()
    for name in written:
        (run / name).write_text(to_toml(tiny))
    (Run.open(run) if written else Run.create(run, tiny)).describe(data="somewhere")
    assert Run.open(run).settings == tiny
    assert sorted(path.name for path in run.iterdir()) == ["run.json", "settings.toml"]


def test_a_run_is_opened_with_its_own_settings(tmp_path: Path, tiny: RunSettings) -> None:
    Run.create(tmp_path / "run", tiny).describe(data="somewhere")
    run = Run.open(tmp_path / "run")
    assert run.settings == tiny
    assert run.data() == Path("somewhere")
    assert Run.open(tmp_path / "run", steps=99).settings.training.steps == 99
    with pytest.raises(RunError, match="contains no run"):
        Run.open(tmp_path)


def test_a_run_without_facts_asks_for_its_data(tmp_path: Path, tiny: RunSettings) -> None:
    run = Run.create(tmp_path / "run", tiny)
    run.describe()
    with pytest.raises(RunError, match="has no data set yet; give one"):
        run.data()
    (tmp_path / "run/run.json").unlink()
    assert run.facts() == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"data": "some', "Input data was truncated"),
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xff\xfe", "JSON is malformed: invalid character (byte 0)"),
        (b'{"data": 3}', "Expected `str | null`, got `int` - at `$.data`"),
        (b'{"data": "a\\u0000b"}', "Expected `str` matching regex '^[^\\\\x00]+$' - at `$.data`"),
        (b'{"threads": 0}', "Expected `int` >= 1 - at `$.threads`"),
        (b'{"threads": 1e999}', "Number out of range - at `$.threads`"),
        (b'{"seconds": NaN}', "JSON is malformed: invalid character (byte 12)"),
        (b'{"device": "cpu; rm"}', "Expected `str` matching regex '^[a-z]+(:[0-9]+)?$' - at `$.device`"),
        (b'{"fingerprint": ["a"]}', "Expected `str | null`, got `array` - at `$.fingerprint`"),
        (b'{"a": ' + b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_damaged_facts_are_named_with_the_way_on(tmp_path: Path, tiny: RunSettings, content: bytes, why: str) -> None:
    run = Run.create(tmp_path / "run", tiny)
    run.describe(data="somewhere")
    path = tmp_path / "run" / "run.json"
    path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        run.data()
    assert str(caught.value).startswith(f"{path}: is damaged ({why}")
    assert str(caught.value).endswith(
        f"); remove it, and continue with `lesionsplit train DATA --run {run.folder} --resume`, DATA being the same "
        "data set"
    )


def test_a_name_that_is_too_long_for_a_file_is_no_config() -> None:
    with pytest.raises(SettingsError, match="is neither a file nor a config"):
        read_config(5000 * "9")
