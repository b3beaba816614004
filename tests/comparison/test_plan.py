from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lesionsplit.comparison.plan import plan
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings, SharedSettings
from lesionsplit.comparison.trained import method_of
from lesionsplit.errors import RunError, SettingsError
from lesionsplit.methods.classifier import CamSettings, GradCamSettings
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.networks.residual import ResNetSettings
from lesionsplit.training.run import Run, read_config


def config(*entries: EntrySettings, **settings: object) -> ComparisonSettings:
    return ComparisonSettings(entry=entries, reference=entries[0].name, **settings)  # type: ignore[arg-type]


OURS = EntrySettings(name="ours", config="small")


def test_own_settings_win_over_shared_ones_and_those_over_the_config() -> None:
    entry = EntrySettings(
        name="ours", config="small", method={"objective": {"fidelity": 0.0}}, training={"batch_size": 4}
    )
    shared = SharedSettings(training={"steps": 7, "batch_size": 2}, placement={"frame": 200})
    (planned,) = plan(config(entry, shared=shared), (entry,), Path("out"))
    small = read_config("small")
    assert planned.settings.training.steps == 7
    assert planned.settings.training.batch_size == 4
    assert planned.settings.training.ema_decay == small.training.ema_decay
    assert planned.settings.placement.frame == 200
    assert planned.settings.placement.rows == small.placement.rows
    assert isinstance(small.method, DecompositionSettings)
    assert planned.settings.method == msgspec.structs.replace(
        small.method, objective=msgspec.structs.replace(small.method.objective, fidelity=0.0)
    )


def test_every_seed_is_a_training() -> None:
    twice = EntrySettings(name="twice", config="supervised", method={"annotator": "b"}, seeds=(5,))
    whole = config(OURS, twice, EntrySettings(name="flat", untrained="opening"), seeds=(0, 2))
    planned = plan(whole, whole.entry, Path("out"))
    assert [(one.label, one.folder, one.settings.seed) for one in planned] == [
        ("ours, seed 0", Path("out/runs/ours-0"), 0),
        ("ours, seed 2", Path("out/runs/ours-2"), 2),
        ("twice, seed 5", Path("out/runs/twice-5"), 5),
    ]
    assert isinstance(planned[2].settings.method, SupervisedSettings)


def test_what_is_only_read_is_trained_once() -> None:
    reader = EntrySettings(name="reader", reads="ours", method={"heat_map": "residual"})
    whole = config(OURS, reader)
    assert [one.label for one in plan(whole, whole.entry, Path())] == ["ours, seed 0"]
    assert [one.label for one in plan(whole, (reader,), Path())] == ["ours, seed 0"]


def test_entries_that_teach_are_trained_first_and_with_their_students_seed() -> None:
    teacher = EntrySettings(name="drawn", config="synthesis")
    student = EntrySettings(
        name="student", method={"name": "distilled", "distillation": {"teachers": ["drawn", "diffusion"]}}, seeds=(1,)
    )
    whole = ComparisonSettings(entry=(student, teacher), reference="student", seeds=(0, 1))
    planned = plan(whole, (student,), Path("out"))
    assert [one.label for one in planned] == ["drawn, seed 0", "drawn, seed 1", "student, seed 1"]
    weights = str(Path("out").resolve() / "runs" / "drawn-1" / "weights.safetensors")
    assert planned[-1].settings.method.distillation.teachers == (weights, "diffusion")


def test_entries_that_teach_do_so_with_one_run_each() -> None:
    method = {"name": "distilled", "distillation": {"teachers": ["drawn"], "seeds": 2}}
    student = EntrySettings(name="student", method=method)
    whole = ComparisonSettings(entry=(student, EntrySettings(name="drawn", config="synthesis")), reference="student")
    with pytest.raises(SettingsError, match=r"'student': method.distillation.seeds is 2, but teachers that are"):
        plan(whole, (student,), Path())


def test_what_is_not_trained_teaches_nobody() -> None:
    student = EntrySettings(name="student", method={"name": "distilled", "distillation": {"teachers": ["opening"]}})
    whole = ComparisonSettings(entry=(student, EntrySettings(name="opening", untrained="opening")), reference="student")
    with pytest.raises(SettingsError, match="entry 'student': teacher 'opening' is not trained by this comparison"):
        plan(whole, (student,), Path())


def test_another_reading_keeps_the_network() -> None:
    trained = CamSettings(network=ResNetSettings(width=3, stem="fine"))
    reader = EntrySettings(name="b", reads="a", method={"name": "grad-cam", "stage": 3})
    assert method_of(reader, trained) == GradCamSettings(network=trained.network, stage=3)
    ours = DecompositionSettings()
    again = EntrySettings(name="b", reads="a", method={"heat_map": "residual"})
    assert method_of(again, ours) == msgspec.structs.replace(ours, heat_map="residual")


def test_a_reading_cannot_change_who_saw_masks() -> None:
    reader = EntrySettings(name="b", reads="a", method={"annotator": "b"})
    with pytest.raises(SettingsError, match=r"entry 'b': reads 'a', so method\.annotator cannot be changed"):
        method_of(reader, SupervisedSettings(annotator="a"))


def test_a_wrong_setting_names_its_entry() -> None:
    entry = EntrySettings(name="ours", config="small", method={"objective": {"fidelty": 0.0}})
    with pytest.raises(SettingsError, match=r"entry 'ours': unknown setting method\.objective\.fidelty; allowed here"):
        plan(config(entry), (entry,), Path())


def test_a_run_with_other_settings_is_not_taken_for_it(tmp_path: Path) -> None:
    (planned,) = plan(config(OURS), (OURS,), tmp_path)
    assert planned.open() == Run(planned.folder, planned.settings)
    assert not planned.finished()
    Run.create(planned.folder, planned.settings).describe()
    assert planned.open().settings == planned.settings
    changed = EntrySettings(name="ours", config="small", method={"objective": {"fidelity": 1.0}})
    (other,) = plan(config(changed), (changed,), tmp_path)
    with pytest.raises(RunError) as caught:
        other.open()
    assert str(caught.value) == (
        f"{planned.folder}: was trained with other settings than the comparison's: method.objective.fidelity is 100.0 "
        "there and 1.0 in the comparison; give another --out, or move the run away"
    )


def test_a_run_may_be_continued_but_not_shortened(tmp_path: Path) -> None:
    (planned,) = plan(config(OURS), (OURS,), tmp_path)
    Run.create(planned.folder, planned.settings).describe()
    steps = planned.settings.training.steps
    longer, shorter = (
        EntrySettings(name="ours", config="small", training={"steps": steps + by, "log_every": 3}) for by in (10, -10)
    )
    (more,), (less,) = (plan(config(entry), (entry,), tmp_path) for entry in (longer, shorter))
    assert more.open().settings.training.steps == steps + 10
    with pytest.raises(RunError, match=f"training.steps is {steps} there and {steps - 10} in the comparison"):
        less.open()
