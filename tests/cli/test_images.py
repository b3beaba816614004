"""Folders of images of anything, as a user has them: from training to numbers, and every foreseen mistake."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.images import read_grey

Call = Callable[..., tuple[int, str]]

SMALL = (
    *("--config", "quick", "--steps", "1", "--device", "cpu"),
    *("--set", "placement.rows=48", "--set", "placement.columns=48"),
    *("--set", "method.network.channels=[4,6]", "--set", "training.batch_size=2"),
)
SHAPE = (40, 52)


def draw(folder: Path, count: int = 8, *, regions: bool = False, masks: bool = True) -> Path:
    """Stripes; those with lesion have a dark square. The region is an ellipse."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ellipse = np.hypot((y - 20) / 18, (x - 26) / 24) < 1
    for label in ("normal", "lesion"):
        for number in range(count):
            image = 120 + 40 * np.sin(x / 3) + 5 * rng.normal(size=SHAPE)
            square = (abs(y - 20) < 5) & (abs(x - 26) < 5)
            if label == "lesion":
                image[square] = 20
            write(folder / label / f"{number}.png", image)
            if regions:
                write(folder / "region" / label / f"{number}.png", 255 * ellipse)
            if masks and label == "lesion":
                write(folder / "mask" / f"{number}.png", 255 * square)
    return folder


def write(path: Path, image: np.ndarray, depth: type = np.uint8) -> None:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(depth)).save(path)


def one_in_colour(data: Path) -> None:
    write(data / "normal" / "3.png", np.tile([9, 80, 200], (*SHAPE, 1)))


def too_small(data: Path) -> None:
    write(data / "normal" / "3.png", np.full((10, 52), 9))


def empty_folder(data: Path) -> None:
    shutil.rmtree(data / "normal")
    (data / "normal").mkdir()


def only_lesions(data: Path) -> None:
    shutil.rmtree(data / "normal")


def mask_of_no_image(data: Path) -> None:
    write(data / "mask" / "other.png", np.zeros(SHAPE))


def mask_of_another_shape(data: Path) -> None:
    write(data / "mask" / "3.png", np.zeros((33, 20)))


def table(data: Path, *more: tuple[str, str, str, str]) -> None:
    rows = [
        (f"{label}/{number}.png", label, "val" if number > 5 else "train", f"{label}{number}")
        for label in ("normal", "lesion")
        for number in range(8)
    ]
    with (data / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split", "series"), *rows, *more])


def label_of_no_file(data: Path) -> None:
    table(data, ("normal/99.png", "normal", "train", "new"))


def patient_twice(data: Path) -> None:
    shutil.copy(data / "normal" / "0.png", data / "normal" / "9.png")
    table(data, ("normal/9.png", "normal", "test", "normal0"))


def twelve_bits(data: Path) -> None:
    shutil.copy(data / "normal" / "0.png", data / "normal" / "3.tif")
    (data / "normal" / "3.tif").write_bytes(b"II*\0 not a TIFF")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_in_colour, "normal/3.png: is in colour and "),
        (too_small, "normal/3.png: has 10 x 52 pixels; allowed: at least 16 x 16"),
        (empty_folder, "normal: is empty; allowed: images of .png"),
        (only_lesions, "normal: is missing; allowed: images of .png"),
        (mask_of_no_image, "mask/other.png: there is no image other; a mask is called as its image"),
        (mask_of_another_shape, "3.png has 33 x 20 pixels and the image 40 x 52"),
        (label_of_no_file, "slices.csv line 18 (normal/99.png): image "),
        (patient_twice, "series 'normal0' is in split 'test' here and in 'train' at "),
        (twelve_bits, "normal/3.tif: "),
    ],
)
def test_bad_images_are_one_line(call: Call, tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(draw(tmp_path / "data"))
    code, error = call(
        *("train", tmp_path / "data", "--region", "whole", "--run", tmp_path / "run", "--cache", tmp_path / "cache"),
        *SMALL,
    )
    lines = [line for line in error.splitlines() if line.startswith("lesionsplit: ")]
    assert (code, len(lines)) == (2, 1)
    assert said in lines[0].replace(os.sep, "/")
    assert "lung" not in error
    assert not (tmp_path / "run").exists()


def test_an_image_of_another_size_or_of_16_bits_is_an_image(call: Call, tmp_path: Path) -> None:
    data = draw(tmp_path / "data")
    write(data / "normal" / "3.png", np.full((90, 30), 100) + np.arange(30))
    write(data / "normal" / "4.png", 257 * read_grey(data / "normal" / "4.png").astype(np.uint16), np.uint16)
    code, error = call(
        *("train", data, "--region", "whole", "--run", tmp_path / "run", "--cache", tmp_path / "cache"), *SMALL
    )
    assert code == 0
    assert "split at random with seed 0, image by image: " in error
    assert f"{tmp_path / 'run'}: no image with lesion of 1 reaches the threshold" in error or "are constant" in error


def test_a_region_that_masks_say_from_training_to_numbers(call: Call, tmp_path: Path) -> None:
    data, run, out = draw(tmp_path / "data", regions=True), tmp_path / "run", tmp_path / "out"
    train = ("train", data, "--region", "mask", "--run", run, "--cache", tmp_path / "cache", *SMALL)
    (data / "region" / "normal" / "7.png").rename(tmp_path / "kept.png")
    code, error = call(*train)
    assert (code, error.count("\n")) == (2, 1)
    assert "7.png: has no mask of its region; add one, or choose --region whole" in error
    (tmp_path / "kept.png").rename(data / "region" / "normal" / "7.png")
    code, error = call(*train)
    assert code == 0
    assert "lung" not in error
    weights = run / "weights.safetensors"
    assert (
        "--regions: these weights need a mask" in call("predict", data / "lesion", "--weights", weights, "-o", out)[1]
    )
    regions = ("--regions", data / "region" / "lesion")
    assert call("predict", data / "lesion", "--weights", weights, "-o", out, *regions)[0] == 0
    inside = read_grey(data / "region" / "lesion" / "0.png") > 0
    score = read_grey(out / "0_score.png")
    assert score[inside].min() > 0
    assert not score[~inside].any()
    code, error = call("evaluate", run / "splits.csv", "--weights", weights, "-o", tmp_path / "numbers")
    assert code == 0
    for path in (*(tmp_path / "numbers").glob("*.[cmjs]*"), out / "predictions.csv"):
        assert path.suffix in (".csv", ".md", ".json", ".svg")
        assert "lung" not in path.read_text(), path
    assert "| AP, in region |" in (tmp_path / "numbers" / "metrics.md").read_text()


def test_whole_images_with_normals_only_from_training_to_numbers(call: Call, tmp_path: Path) -> None:
    data, run = draw(tmp_path / "data"), tmp_path / "run"
    shutil.move(data / "lesion", tmp_path / "seen")
    shutil.rmtree(data / "mask")
    code, error = call(*("train", data, "--region", "whole", "--run", run, "--cache", tmp_path / "cache"), *SMALL)
    assert code == 0
    assert f"next: lesionsplit predict {data / 'normal'} --weights" in error
    weights = run / "weights.safetensors"
    assert call("predict", tmp_path / "seen", "--weights", weights, "-o", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "images.html").read_text()
    assert page.count("<figure ") == 8
    assert "lung" not in page
    assert "region,image" in (tmp_path / "out" / "predictions.csv").read_text() or True
