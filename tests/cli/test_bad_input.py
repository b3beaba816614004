"""Every foreseen mistake: one line on stderr that names it, exit code 2, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., tuple[int, str]]

TINY = (
    *(
        "--config",
        "synthesis",
        "--set",
        "placement.rows=32",
        "--set",
        "placement.columns=48",
        "--set",
        "placement.frame=56",
    ),
    *("--set", "method.network.channels=[4,6]"),
    *("--set", "training.batch_size=2", "--steps", "1", "--device", "cpu"),
)


@pytest.fixture
def data(tmp_path: Path, phantom_folder: Path) -> Path:
    """A copy of the phantom that a test may spoil."""
    return Path(shutil.copytree(phantom_folder, tmp_path / "data"))


def edit(data: Path, old: str, new: str) -> None:
    table = (data / "slices.csv").read_text()
    assert old in table
    (data / "slices.csv").write_text(table.replace(old, new, 1))


def first_train_image(data: Path, label: str = "lesion") -> Path:
    line = next(line for line in (data / "slices.csv").read_text().splitlines() if f",{label},train," in line)
    return data / line.split(",")[0]


def missing_image(data: Path) -> None:
    first_train_image(data).unlink()


def unreadable_image(data: Path) -> None:
    path = first_train_image(data)
    path.write_bytes(path.read_bytes()[:300])


def unreadable_normal_image(data: Path) -> None:
    first_train_image(data, "normal").write_text("not an image")


def unreadable_normal_image_of_val(data: Path) -> None:
    line = next(line for line in (data / "slices.csv").read_text().splitlines() if ",normal,val," in line)
    path = data / line.split(",")[0]
    path.write_bytes(path.read_bytes()[:300])


def not_an_image(data: Path) -> None:
    first_train_image(data).write_text("not an image")


def colour_image(data: Path) -> None:
    Image.fromarray(np.tile(np.array([9, 80, 200], dtype=np.uint8), (128, 128, 1))).save(first_train_image(data))


def no_lung(data: Path) -> None:
    Image.fromarray(np.zeros((128, 128), dtype=np.uint8)).save(first_train_image(data))


def not_masked(data: Path) -> None:
    Image.fromarray(np.full((128, 128), 90, dtype=np.uint8)).save(first_train_image(data))


def unknown_label(data: Path) -> None:
    edit(data, ",lesion,train,", ",covid,train,")


def unknown_split(data: Path) -> None:
    edit(data, ",lesion,train,", ",lesion,training,")


def series_in_two_splits(data: Path) -> None:
    rows = (data / "slices.csv").read_text().splitlines()
    series = [row.split(",")[3] for row in rows[1:]]
    at = next(i for i in range(1, len(series)) if series[i] == series[i - 1]) + 1
    cells = rows[at].split(",")
    cells[2] = "val" if cells[2] != "val" else "test"
    rows[at] = ",".join(cells)
    (data / "slices.csv").write_text("\n".join(rows) + "\n")


def mask_of_another_shape(data: Path) -> None:
    mask = next((data / "masks-b").iterdir())
    Image.fromarray(np.zeros((50, 128), dtype=np.uint8)).save(mask)


def missing_mask(data: Path) -> None:
    next((data / "masks-b").iterdir()).unlink()


def missing_column(data: Path) -> None:
    edit(data, "label", "class")


def empty_table(data: Path) -> None:
    (data / "slices.csv").write_text("image,label,split,series\n")


def binary_table(data: Path) -> None:
    (data / "slices.csv").write_bytes(b"\xff\xfe\x00image")


def with_lungs(data: Path, lungs: np.ndarray) -> None:  # type: ignore[type-arg]
    path = first_train_image(data)
    Image.fromarray(lungs).save(data / "lungs.png")
    lines = (data / "slices.csv").read_text().splitlines()
    name = path.relative_to(data).as_posix()
    added = [line + (",lungs.png" if line.startswith(f"{name},") else ",") for line in lines[1:]]
    (data / "slices.csv").write_text("\n".join([f"{lines[0]},lungs", *added]) + "\n")


def missing_lungs(data: Path) -> None:
    with_lungs(data, np.full((128, 128), 255, dtype=np.uint8))
    (data / "lungs.png").unlink()


def unreadable_lungs(data: Path) -> None:
    with_lungs(data, np.full((128, 128), 255, dtype=np.uint8))
    (data / "lungs.png").write_text("not an image")


def lungs_of_another_shape(data: Path) -> None:
    with_lungs(data, np.full((64, 64), 255, dtype=np.uint8))


def empty_lungs(data: Path) -> None:
    with_lungs(data, np.zeros((128, 128), dtype=np.uint8))


def lungs_as_classes(data: Path) -> None:
    with_lungs(data, np.full((128, 128), 1, dtype=np.uint8))


BAD_DATA = {
    missing_image: "is missing",
    unreadable_image: "cannot be read",
    not_an_image: "is not an image",
    unreadable_normal_image: "is not an image",
    unreadable_normal_image_of_val: "cannot be read",
    colour_image: "is a colour image",
    no_lung: "no lung: every pixel is black",
    not_masked: "not lung-masked",
    unknown_label: "label is 'covid'; allowed: normal, lesion",
    unknown_split: "split is 'training'; allowed: train, val, test",
    series_in_two_splits: "is in split",
    mask_of_another_shape: "50 x 128 pixels and the image 128 x 128",
    missing_mask: "no such file",
    missing_lungs: "lungs.png is missing",
    unreadable_lungs: "is not an image",
    lungs_of_another_shape: "have 64 x 64 pixels and the image 128 x 128; lungs must have the image's shape",
    empty_lungs: "are empty; remove slices without lung",
    lungs_as_classes: "has values up to 1; allowed: 0 for outside and 255 for lung",
    missing_column: "lacks the column label",
    empty_table: "has no slice",
    binary_table: "cannot be read",
}
WITHOUT_LINE = (missing_column, empty_table, binary_table)


@pytest.mark.parametrize("spoil", BAD_DATA, ids=lambda spoil: spoil.__name__)
def test_bad_data_is_one_line_that_names_the_row(call: Call, data: Path, spoil: Callable[[Path], None]) -> None:
    spoil(data)
    run = data.parent / "run"
    code, said = call("train", data, "--run", run, "--cache", data.parent / "cache", *TINY)
    assert code == 2
    assert said.count("\n") == 1, said
    assert BAD_DATA[spoil] in said
    assert "slices.csv" in said or spoil is empty_table
    if spoil not in WITHOUT_LINE:
        assert " line " in said, said
    assert not run.exists(), "half a run was written"
    assert not list(data.parent.glob("cache/*/*")), "half a cache was written"


BOUND = (
    *("--config", "supervised", "--set", "method.network.channels=[4,6]", "--set", "placement.rows=32"),
    *("--set", "placement.columns=48", "--set", "placement.frame=56", "--set", "training.batch_size=2"),
    *("--steps", "1", "--device", "cpu"),
)


def unreadable_mask(data: Path) -> None:
    path = data / "masks-a" / first_train_image(data).name
    path.write_bytes(path.read_bytes()[:48])


def no_mask(data: Path) -> None:
    edit(data, f"masks-a/{first_train_image(data).name}", "")


def no_masks(data: Path) -> None:
    (data / "slices.csv").write_text((data / "slices.csv").read_text().replace("mask_a", "mask_c"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unreadable_mask, "cannot be read"),
        (no_mask, "has no mask of annotator 'a'; found: b, b_revised; a supervised training needs one"),
        (no_masks, "has no masks of annotator 'a' in split 'train'; found: c, b, b_revised; choose another"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_an_upper_bound_without_its_masks(call: Call, data: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(data)
    code, said = call("train", data, "--run", data.parent / "run", "--cache", data.parent / "cache", *BOUND)
    assert (code, said.count("\n")) == (2, 1), said
    assert message in said
    assert not (data.parent / "run").exists()
    assert not list(data.parent.glob("cache/*/*"))


def test_an_upper_bound_says_so_before_it_starts(call: Call, data: Path, tmp_path: Path) -> None:
    code, said = call("train", data, "--run", tmp_path / "run", "--cache", tmp_path / "cache", *BOUND)
    assert code == 0, said
    expected = (
        "trains on masks of annotator a of the train split: a supervised upper bound, not a weakly supervised method"
    )
    assert said.splitlines()[0] == expected
    assert said.count("upper bound") == 1


def test_bad_settings(call: Call, data: Path, tmp_path: Path) -> None:
    wrong = {
        ("--config", "nothing"): "is neither a file nor a config; give a .toml file, or one of",
        ("--set", "training.step=3"): "training",
        ("--set", "training.steps=many"): "steps",
        ("--set", "training.steps"): "training.steps",
        (
            "--config",
            "small",
            "--set",
            "method.critic.norm=batch",
        ): "batch normalisation couples the slices of a batch",
        ("--config", "small", "--set", "method.objective.distance=l3"): "l1, l2",
        ("--set", "placement.rows=190"): "both sides must be multiples of 16",
        ("--device", "gpu"): "allowed: auto, cpu",
        ("--steps", "0"): "steps",
        ("--set", "method.annotator=a"): "unknown setting method.annotator",
        ("--set", "method.name=supervised"): "method",
        ("--config", "supervised", "--set", 'method.annotator=""'): "method.annotator",
        ("--resume",): "contains no run",
        ("--resume", "--config", "demo"): "--config, --set and --region do not apply with --resume",
    }
    for arguments, message in wrong.items():
        code, said = call("train", data, "--run", tmp_path / "run", "--cache", tmp_path / "cache", *arguments)
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        assert not (tmp_path / "run").exists(), arguments


def test_a_broken_settings_file(call: Call, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[training\nsteps = 3")
    code, said = call("train", data, "--run", tmp_path / "run", "--config", tmp_path / "mine.toml")
    assert (code, said.count("\n")) == (2, 1)
    assert "mine.toml" in said


def test_a_run_that_is_there_stays_as_it_is(call: Call, data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/weights.safetensors").write_text("weeks of work")
    code, said = call("train", data, "--run", tmp_path / "run", *TINY)
    assert (code, said.count("\n")) == (2, 1)
    assert "--resume" in said
    assert (tmp_path / "run/weights.safetensors").read_text() == "weeks of work"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_no_data(call: Call, tmp_path: Path, weights: Path, command: str) -> None:
    more = ("--run", tmp_path / "run") if command == "train" else ("--weights", weights, "-o", tmp_path / "run")
    for folder, message in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "has neither slices.csv nor")):
        code, said = call(command, folder, *more)
        assert (code, said.count("\n")) == (2, 1)
        assert message in said
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_bad_weights(call: Call, data: Path, tmp_path: Path, weights: Path, command: str) -> None:
    bad = tmp_path / "bad.safetensors"
    arguments = (data,) if command == "evaluate" else (data / "images",)
    for content, message in ((None, "no such file"), (weights.read_bytes()[:-9], "is not a whole safetensors file")):
        if content:
            bad.write_bytes(content)
        code, said = call(command, *arguments, "--weights", bad, "-o", tmp_path / "out")
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        assert not (tmp_path / "out").exists()


def test_bad_predictions(call: Call, data: Path, tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    for arguments, message in (
        ((tmp_path / "nowhere",), "no such file or folder"),
        ((tmp_path / "empty",), "holds nothing readable"),
        ((data / "images", "--threshold", "2"), "allowed: a number above 0 and up to 1"),
        ((data / "images", "--device", "gpu"), "allowed: auto, cpu"),
        ((), "Missing argument"),
    ):
        code, said = call("predict", *arguments, "--weights", weights, "-o", tmp_path / "out")
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        assert not (tmp_path / "out").exists(), arguments
    code, said = call("predict", data / "images", "--weights", weights, "-o", tmp_path / "file/out")
    assert (code, said.count("\n")) == (2, 1), said
    assert "cannot be written" in said


def test_one_bad_file_is_exit_code_one(call: Call, data: Path, tmp_path: Path, weights: Path) -> None:
    not_an_image(data)
    code, said = call("predict", data / "images", "--weights", weights, "-o", tmp_path / "out")
    assert code == 1
    assert said.count("is not an image") == 1
    assert len((tmp_path / "out/predictions.csv").read_text().splitlines()) == 36  # a header and the other 35


def test_bad_lungs(call: Call, data: Path, tmp_path: Path, weights: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "nowhere",), "no such file or folder"),
        ((tmp_path / "empty",), "has no image in it"),
        ((data / "images", "-o", data / "images"), "holds slices that are given"),
        ((), "Missing argument"),
    ):
        code, said = call("lungs", "-o", tmp_path / "out", *arguments)
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        assert not (tmp_path / "out").exists(), arguments
    code, said = call(
        "predict", data / "images", "--lungs", tmp_path / "no", "--weights", weights, "-o", tmp_path / "p"
    )
    assert (code, said.count("\n")) == (2, 1), said
    assert "give the one that `lesionsplit lungs` wrote" in said
    assert not (tmp_path / "p").exists()


def test_a_slice_without_lung_is_exit_code_one(call: Call, tmp_path: Path) -> None:
    rows, columns = np.ogrid[:60, :80]
    chest = np.where(((rows - 30) / 28) ** 2 + ((columns - 40) / 38) ** 2 < 1, 200, 10).astype(np.uint8)
    (tmp_path / "raw").mkdir()
    Image.fromarray(chest).save(tmp_path / "raw/belly.png")
    chest[18:42, 14:32] = chest[18:42, 48:66] = 60
    Image.fromarray(chest).save(tmp_path / "raw/chest.png")
    code, said = call("lungs", tmp_path / "raw", "-o", tmp_path / "out")
    assert code == 1
    assert said.splitlines()[0].startswith(f"{tmp_path / 'raw/belly.png'}: no lung found")
    assert "lungs found in 1 slices, 1 failed" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"chest_lungs.png", "lungs.png"}
    assert call("lungs", tmp_path / "raw/chest.png", "-o", tmp_path / "other")[0] == 0


def test_bad_phantoms(call: Call, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path,), "exists already"),
        ((tmp_path / "new", "--size", "63"), "size"),
        ((tmp_path / "new", "--normal", "0"), "normal"),
        ((tmp_path / "new", "--lesion", "many"), "lesion"),
    ):
        code, said = call("phantom", *arguments)
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        assert not (tmp_path / "new").exists()


def test_a_resolution_that_is_none(call: Call, data: Path, weights: Path, tmp_path: Path) -> None:
    for resolution in ("0", "-3", "8000"):
        code, said = call("evaluate", data, "--weights", weights, "--resolution", resolution, "-o", tmp_path / "out")
        assert (code, said.count("\n")) == (2, 1), said
        assert not (tmp_path / "out").exists()


def test_fewer_steps_than_done(call: Call, data: Path, tmp_path: Path) -> None:
    arguments = ("--run", tmp_path / "run", "--cache", tmp_path / "cache", "--device", "cpu")
    code, said = call("train", data, *arguments, *TINY, "--steps", "2")
    assert code == 0, said
    code, said = call("train", "--resume", *arguments[:4], "--steps", "1")
    assert (code, said.count("\n")) == (2, 1), said
    assert "is at step 2, after the last step 1" in said
    assert "steps = 2" in (tmp_path / "run/settings.toml").read_text()


def test_alone_it_shows_what_there_is(call: Call) -> None:
    code, said = call()
    assert code == 2
    assert said.count("\n") > 5
    assert "predict" in said


def test_unknown_commands_and_options(call: Call) -> None:
    for arguments in (("segment",), ("train", "--epochs", "3")):
        code, said = call(*arguments)
        assert (code, said.count("\n")) == (2, 1), said


def test_images_of_12_bits_are_refused_wherever_they_are_read(
    call: Call, data: Path, tmp_path: Path, weights: Path
) -> None:
    for path in sorted((data / "images").iterdir())[::2]:  # a part of the files
        grey = np.asarray(Image.open(path)).astype(np.uint16)
        Image.fromarray(grey * 4).save(path)
    commands = (
        ("train", data, "--run", tmp_path / "run", "--config", "demo", "--cache", tmp_path / "cache"),
        ("evaluate", data, "--weights", weights, "-o", tmp_path / "evaluation"),
    )
    for command in commands:
        code, said = call(*command)
        assert code == 2
        assert "slices.csv line" in said
        assert "16 bit, but its values are from" in said
    code, said = call("predict", data / "images", "-o", tmp_path / "out", "--weights", weights)
    assert code == 1
    assert said.count("16 bit, but its values are from") == len(list((data / "images").iterdir())) // 2
