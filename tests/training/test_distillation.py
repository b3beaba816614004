from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from msgspec.structs import replace

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import PreparedSlices, prepare
from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, RunError, SettingsError
from lesionsplit.images import as_float, as_grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import Distillation
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.models.card import digest
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionUNet, LesionUNetSettings
from lesionsplit.runtime import Runtime
from lesionsplit.settings import to_toml
from lesionsplit.training.distillation import StudentSlices, Teachers, soft_targets, with_teacher_outputs
from lesionsplit.training.loop import copy_weights
from lesionsplit.training.record import Measurement
from lesionsplit.training.run import Run, RunSettings, TrainingSettings
from lesionsplit.training.teachers import wanted_teachers
from lesionsplit.training.train import train_run

PLACEMENT = PlacementSettings(rows=32, columns=48, frame=56)
LITTLE = TrainingSettings(steps=4, batch_size=4, ema_decay=0.5, log_every=2, checkpoint_every=2, picture_every=100)
SMALL = DenoiserSettings(channels=(4, 6), embedding=8)


@pytest.fixture(scope="module")
def teaching_method() -> DiffusionSettings:
    """Of a teacher that finds something, if nothing worth finding, after a few steps."""
    return DiffusionSettings(network=SMALL, sampling_steps=2, learning_rate=1e-2, warmup_steps=1)


@pytest.fixture(scope="module")
def teacher_settings(
    tmp_path_factory: pytest.TempPathFactory, tiny: RunSettings, teaching_method: DiffusionSettings
) -> Path:
    """A file with the settings of a teacher, as a user would write one."""
    path = tmp_path_factory.mktemp("settings") / "denoiser.toml"
    path.write_text(to_toml(replace(tiny, method=teaching_method)))
    return path


def student(*teachers: Path) -> RunSettings:
    return RunSettings(
        seed=3,
        placement=PLACEMENT,
        augmentation=Augmentation(),
        method=DistilledSettings(
            distillation=Distillation(
                teachers=tuple(map(str, teachers)), half_confidence_ratio=2.0, init_from_teacher=False
            ),
            network=DenoiserSettings(channels=(4, 6), embedding=8),
        ),
        training=LITTLE,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path, teacher_settings: Path) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("distillation")
    made = Run.create(folder / "run", student(teacher_settings))
    assert train_run(made, phantom_folder, cache=folder / "cache", runtime=Runtime(threads=1)).finished
    return made


def outputs(run: Run, phantom: Table, folder: Path, *weights: Path, ratio: float = 2.0) -> PreparedSlices:
    """The slices of train with what teachers find in them."""
    table = phantom.without_masks().split("train")
    prepared = prepare(table, PLACEMENT, folder=run.folder.parent / "cache")
    return with_teacher_outputs(
        StudentSlices(prepared=prepared, table=table, placement=PLACEMENT),
        Teachers(weights=weights, half_confidence_ratio=ratio),
        folder,
        Fabric(accelerator="cpu", devices=1),
    )


def teacher_of(run: Run) -> Run:
    return Run.open(run.folder / "teachers" / "1-denoiser")


def test_a_teacher_is_half_sure_at_so_many_times_its_threshold() -> None:
    scores = [np.array([0.0, 0.2, 0.6], np.float32), np.array([0.0, 0.0, 1.0], np.float32)]
    np.testing.assert_allclose(
        soft_targets(scores, [0.1, 0.5], half_confidence_ratio=2.0), [0, 0.25, (0.9 + 0.5) / 2], rtol=1e-6
    )


def test_what_all_teachers_agree_on_is_believed_whatever_their_scales() -> None:
    score = np.linspace(0, 1, 11, dtype=np.float32)
    together = soft_targets([score, score / 10], [0.3, 0.03], half_confidence_ratio=3.0)
    np.testing.assert_allclose(together, soft_targets([score], [0.3], half_confidence_ratio=3.0), rtol=1e-5)


def test_the_teacher_is_trained_first_with_the_seed_of_its_student(
    run: Run, teaching_method: DiffusionSettings
) -> None:
    teacher = teacher_of(run)
    assert teacher.finished()
    assert teacher.settings.seed == 3
    assert teacher.settings.method == teaching_method
    card = Model.load(run.weights).card
    assert card.trained["supervision"] == "image labels only"
    assert card.method == run.settings.method


def test_each_of_several_seeds_has_seeds_of_teachers_of_its_own(tmp_path: Path, teacher_settings: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(teacher_settings.read_text())

    def seeds(seed: int) -> list[int]:
        settings = student(teacher_settings, other)
        method = replace(settings.method, distillation=replace(settings.method.distillation, seeds=3))
        run = Run.create(tmp_path / str(seed), replace(settings, seed=seed, method=method))
        return [one.seed for _, one in wanted_teachers(run) if one is not None]

    assert seeds(0) == [0, 1, 2, 0, 1, 2]
    assert seeds(2) == [6, 7, 8, 6, 7, 8]


def test_the_card_has_no_path_in_it(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    made = Run.create(tmp_path / "run", student(teacher_of(run).weights))
    train_run(made, phantom_folder, cache=run.folder.parent / "cache", runtime=Runtime(threads=1))
    distillation = Model.load(made.weights).card.method.distillation
    assert distillation is not None
    assert distillation.teachers == (f"{digest(teacher_of(run).weights)[:16]}.safetensors",)


def test_a_folder_with_another_teacher_is_refused(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    """A run's own teachers may have been trained before and put there; a run of masks is none of them."""
    folder = tmp_path / "run" / "teachers" / "1-denoiser"
    Run.create(folder, replace(teacher_of(run).settings, seed=4)).describe()
    made = Run(tmp_path / "run", run.settings)
    with pytest.raises(RunError, match=r"1-denoiser: contains a teacher with other settings than .*denoiser.toml"):
        train_run(made, phantom_folder, cache=run.folder.parent / "cache", runtime=Runtime(threads=1))


def test_findings_are_what_predict_says_of_a_slice(run: Run, phantom: Table) -> None:
    table, teacher = phantom.split("train"), teacher_of(run)
    (kept,) = (run.folder / "teachers").glob("findings-*.npy")
    before = kept.stat().st_mtime_ns
    slices = outputs(run, phantom, kept.parent, teacher.weights)
    assert kept.stat().st_mtime_ns == before  # computed once
    assert slices.teacher_outputs is not None
    predictor = SlicePredictor.load(teacher.weights)
    for at in slices.where(lesion=True)[:3]:
        one = read_slice(table.slices[at])
        found = predictor.predict(one.grey)
        chance = found.score**2 / (found.score**2 + (2 * predictor.threshold) ** 2)
        placed = PLACEMENT.place(one.lungs)
        for ours, expected in zip(
            slices.teacher_outputs, (placed.apply(chance), placed.apply(as_float(found.healthy))), strict=True
        ):
            assert np.abs(ours[at].astype(int) - as_grey(expected).astype(int)).max() <= 1
    assert slices.teacher_outputs.targets[slices.where(lesion=True)].max() > 50, "a test of nothing"
    assert not slices.teacher_outputs.targets[slices.where(lesion=False)].any()


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-1], lambda _: b"", lambda whole: whole[:-50] + b"x" + whole[-49:]]
)
def test_damaged_findings_are_computed_again(
    run: Run, phantom: Table, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    weights = teacher_of(run).weights
    before = outputs(run, phantom, tmp_path, weights).teacher_outputs
    assert before is not None
    targets = before.targets.copy()
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    after = outputs(run, phantom, tmp_path, weights).teacher_outputs
    assert after is not None
    np.testing.assert_array_equal(after.targets, targets)


def test_no_space_for_findings_is_one_line_before_the_teachers_predict(
    run: Run, phantom: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"findings-[0-9a-f]{16}\.npy: cannot be written \(No space left on device\); it needs 0.1 MB: "
    ):
        outputs(run, phantom, tmp_path, teacher_of(run).weights)
    assert list(tmp_path.iterdir()) == []


def test_a_threshold_of_almost_nothing_is_no_confidence_in_nothing() -> None:
    score = np.array([0.0, 1e-3], np.float32)
    np.testing.assert_array_equal(soft_targets([score], [1e-30], half_confidence_ratio=2.0), [0, 1])


def test_other_teachers_other_findings(run: Run, phantom: Table) -> None:
    folder = run.folder.parent / "other"

    def names(ratio: float) -> set[str]:
        outputs(run, phantom, folder, teacher_of(run).weights, ratio=ratio)
        return {path.name for path in folder.iterdir()}

    first, second = names(2.0), names(4.0)
    assert len(first) == 1
    assert len(second) == 2


def test_findings_of_several_teachers_are_what_they_believe_together(run: Run, phantom: Table, tmp_path: Path) -> None:
    model = Model.load(teacher_of(run).weights)
    keen, shy = tmp_path / "keen.safetensors", tmp_path / "shy.safetensors"
    Model(replace(model.card, threshold=1e-6), model.network).save(keen)
    Model(replace(model.card, threshold=1.0), model.network).save(shy)  # hardly any confidence

    def targets(*teachers: Path) -> np.ndarray:
        slices = outputs(run, phantom, tmp_path / "kept", *teachers)
        assert slices.teacher_outputs is not None
        return np.asarray(slices.teacher_outputs.targets[slices.where(lesion=True)], dtype=float)

    both = targets(keen, shy)
    assert np.abs((targets(keen) + targets(shy)) / 2 - both).max() <= 1
    assert both.max() > 100


def test_a_file_of_weights_can_be_a_teacher(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    """The same teacher by its file: the same student, to the bit."""
    other = Run.create(tmp_path / "run", student(teacher_of(run).weights))
    train_run(other, phantom_folder, cache=run.folder.parent / "cache", runtime=Runtime(threads=1))
    assert_same_weights(other, run)


def test_a_student_begins_as_its_first_teacher_but_for_the_last_layer() -> None:
    teacher, student = (
        DiffusionSettings(network=SMALL).build_network(),
        DistilledSettings(network=SMALL).build_network(),
    )
    torch.nn.init.normal_(teacher.head.weight)
    fresh = {name: value.clone() for name, value in student.state_dict().items()}
    copy_weights(teacher, student)
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        assert torch.equal(value, fresh[name] if name.startswith("head.") else theirs[name]), name


def test_a_network_of_another_kind_is_nothing_to_begin_with() -> None:
    student = DistilledSettings(network=SMALL).build_network()
    with pytest.raises(SettingsError, match="the first teacher's network differs from the student's"):
        copy_weights(LesionUNet(LesionUNetSettings(channels=(4, 6))), student)


def test_stopped_while_the_teacher_learns_and_continued_it_is_unbroken(
    run: Run, phantom_folder: Path, teacher_settings: Path, tmp_path: Path
) -> None:
    def interrupt(measured: Measurement) -> None:
        if measured.step == 2:
            signal.raise_signal(signal.SIGTERM)  # to this very thread, at once

    said: list[str] = []
    cache = run.folder.parent / "cache"
    made = Run.create(tmp_path / "run", student(teacher_settings))
    stopped = train_run(
        made,
        phantom_folder,
        cache=cache,
        runtime=Runtime(threads=1, say=said.append),
        watch=lambda _: interrupt,
    )
    assert (stopped.finished, stopped.step) == (False, 0)
    assert said == [f"teacher 1 of 1: {teacher_settings}, seed 3, in {tmp_path / 'run' / 'teachers' / '1-denoiser'}"]
    assert train_run(Run.open(tmp_path / "run"), phantom_folder, cache=cache).finished
    assert_same_weights(made, run)


def test_nobody_learns_from_who_has_seen_masks(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    bound = RunSettings(
        placement=PLACEMENT,
        method=SupervisedSettings(annotator="a", network=DenoiserSettings(channels=(4, 6), embedding=8)),
        training=LITTLE,
    )
    (tmp_path / "bound.toml").write_text(to_toml(bound))
    cache = run.folder.parent / "cache"
    with pytest.raises(
        SettingsError, match=r"is trained on masks of annotator a.*name a teacher that is trained on image labels only"
    ):
        train_run(
            Run.create(tmp_path / "run", student(tmp_path / "bound.toml")),
            phantom_folder,
            cache=cache,
            runtime=Runtime(threads=1),
        )
    trained = Run.create(tmp_path / "bound", bound)
    train_run(trained, phantom_folder, cache=cache, runtime=Runtime(threads=1))
    with pytest.raises(
        SettingsError, match=r"is trained on masks of annotator a.*name a teacher that is trained on image labels only"
    ):
        train_run(
            Run.create(tmp_path / "other", student(trained.weights)),
            phantom_folder,
            cache=cache,
            runtime=Runtime(threads=1),
        )


def test_a_teacher_that_knows_masks_is_refused_wherever_it_comes_from(
    run: Run, phantom: Table, card: ModelCard, tmp_path: Path
) -> None:
    bound = SupervisedSettings(annotator="a", network=SMALL)
    Model(replace(card, method=bound), bound.build_network()).save(tmp_path / "bound.safetensors")
    with pytest.raises(
        SettingsError, match=r"masks of annotator a.*name a teacher that is trained on image labels only"
    ):
        outputs(run, phantom, tmp_path, tmp_path / "bound.safetensors")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"teachers": ("a.safetensors", "b.safetensors"), "seeds": 2},
            "seeds: is 2, but all teachers are weights files",
        ),
        ({"teachers": ("a", "a")}, "teachers: a teacher is listed twice; list each once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        Distillation(**{"teachers": ("a", "b"), **changes})  # type: ignore[arg-type]


def test_a_teacher_has_no_teachers(run: Run, phantom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "student.toml").write_text(to_toml(run.settings))
    cache = run.folder.parent / "cache"
    with pytest.raises(SettingsError, match="has teachers itself; list those instead"):
        train_run(
            Run.create(tmp_path / "run", student(tmp_path / "student.toml")),
            phantom_folder,
            cache=cache,
            runtime=Runtime(threads=1),
        )


def assert_same_weights(one: Run, other: Run) -> None:
    ours, theirs = (Model.load(each.weights).network.state_dict() for each in (one, other))
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key


def test_a_wrong_teacher_leaves_no_run_behind(phantom_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing: is neither a file nor a config"):
        train_run(
            Run.create(tmp_path / "run", student(Path("nothing"))),
            phantom_folder,
            cache=tmp_path / "c",
            runtime=Runtime(threads=1),
        )
    assert not (tmp_path / "run").exists()
