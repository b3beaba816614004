from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score

from lesionsplit.data.lung_slice import find_lungs, read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.protocol import read_mask, to_grid
from lesionsplit.images import read_grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.pipeline.evaluate import evaluate

METHODS = ("lesionsplit", "opening")


@pytest.fixture(scope="module")
def report(phantom_folder: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    evaluation = evaluate(weights, phantom_folder, out=folder, resolution=64)
    assert (folder / "metrics.json").read_text() == json.dumps(msgspec.to_builtins(evaluation), indent=2) + "\n"
    return folder


def test_all_of_it_is_written(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == {
        "metrics.json",
        "metrics.csv",
        "metrics.md",
        "per_slice.csv",
        "examples.png",
        "worst.png",
        "random.png",
        "precision-recall.png",
        "precision-recall.svg",
        "dice.png",
        "dice.svg",
        "reliability.png",
        "reliability.svg",
    }


def test_the_number_is_scikit_learns_from_the_slices_up(report: Path, phantom: Table, weights: Path) -> None:
    rows = phantom.split("test").labelled("lesion")
    predictions = SlicePredictor.load(weights).predict_stream(map(read_slice, rows))
    scores = np.concatenate([to_grid(Scored(one.score, one.lungs), 64).score.ravel() for one in predictions])
    metrics = json.loads((report / "metrics.json").read_text())
    for annotator in ("a", "b", "b_revised"):
        truth = np.concatenate([read_mask(row, annotator, 64).ravel() for row in rows])
        expected = average_precision_score(truth, np.rint(scores * 65535))
        found = metrics["methods"]["lesionsplit"][annotator]["average_precision"]["value"]
        assert found == pytest.approx(expected, abs=1e-6)
        assert metrics["chance"][annotator]["average_precision"]["value"] == pytest.approx(truth.mean())


def rows_of(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading: cells by name, without the name."""
    lines = text.replace("\\_", "_").partition(heading.replace("\\_", "_") + "\n")[2].strip().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[: [*lines, ""].index("")][2:]]
    return {name: row for name, *row in cells}


def test_the_rows_that_keep_us_honest_are_there(report: Path) -> None:
    text = (report / "metrics.md").read_text()
    for annotator in ("a", "b", "b_revised"):
        against = rows_of(text, f"### Against annotator {annotator}".replace("_", "\\_"))
        others = [f"annotator {other}" for other in ("a", "b", "b_revised") if other != annotator]
        assert list(against) == ["chance (fraction of lesion pixels)", "**lesionsplit**", "opening", *others]
    assert "| where a and b agree |" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(report: Path) -> None:
    lines = (report / "metrics.md").read_text().splitlines()
    for table in "\n".join(lines).split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1


def test_the_table_for_machines_has_the_same_numbers(report: Path) -> None:
    metrics = json.loads((report / "metrics.json").read_text())
    with (report / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["method"] in metrics["methods"] and row["annotator"] in metrics["chance"]:
            estimate = metrics["methods"][row["method"]][row["annotator"]][row["measure"]]
            assert (row["value"] == "") == (estimate["value"] is None)
            if row["value"]:
                assert float(row["value"]) == pytest.approx(estimate["value"], abs=1e-6)
        if " and " in row["annotator"]:
            estimate = metrics["agreed"][row["annotator"]][row["method"]][row["measure"]]
            assert float(row["value"]) == pytest.approx(estimate["value"], abs=1e-6)
    assert {(row["method"], row["annotator"]) for row in rows if row["measure"] == "dice_lowest_0.1_to_0.6"} == {
        (method, annotator) for method in ("lesionsplit", "opening") for annotator in ("a", "b", "b_revised")
    }
    assert {row["method"] for row in rows if row["annotator"] == "a and b"} == {"chance", "lesionsplit", "opening"}
    assert {row["method"] for row in rows} >= {"chance", "opening", "lesionsplit", "annotator a"}


def test_the_table_of_slices_has_what_the_tables_of_the_split_average(report: Path, phantom: Table) -> None:
    metrics = json.loads((report / "metrics.json").read_text())
    with (report / "per_slice.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = phantom.split("test")
    assert [(phantom.root / row["image"], row["series"], row["label"]) for row in rows] == [
        (row.image, row.series, row.label) for row in table
    ]
    for annotator in ("a", "b", "b_revised"):
        for column, measure in (("ap", "average_precision_per_image"), ("dice", "dice_stored_per_image")):
            values = [float(row[f"{column}_{annotator}"]) for row in rows if row[f"{column}_{annotator}"]]
            expected = metrics["methods"]["lesionsplit"][annotator][measure]["value"]
            assert np.mean(values) == pytest.approx(expected, abs=1e-6)
    normal = [row for row in rows if row["label"] == "normal"]
    fired = metrics["slices"]["lesionsplit"]["false_positive_fraction"]["value"]
    assert np.mean([float(row["lesion_fraction"]) for row in normal]) == pytest.approx(fired, abs=1e-6)
    assert {row[f"{measure}_a"] for row in normal for measure in ("ap", "dice", "missed", "false")} == {""}


def test_healthy_versions_are_compared_with_the_truth(report: Path) -> None:
    metrics = json.loads((report / "metrics.json").read_text())
    assert set(metrics["healthy"]) == {"lesionsplit"}
    healthy = metrics["healthy"]["lesionsplit"]
    with (report / "metrics.csv").open(newline="") as file:
        rows = {row["measure"]: row for row in csv.DictReader(file) if row["method"] == "lesionsplit"}
    for name in ("error_of_slice", "error_of_healthy", "closer"):
        assert float(rows[name]["value"]) == pytest.approx(healthy[name]["value"], abs=1e-6)
    cells = rows_of((report / "metrics.md").read_text(), "in the lungs of lesion slices; 1 is full scale.")
    assert cells["**lesionsplit**"][0].startswith(f"{healthy['error_of_slice']['value']:.4f}")


def test_what_a_score_means_is_counted_in_the_lungs_of_lesion_slices(
    report: Path, phantom: Table, weights: Path
) -> None:
    rows = phantom.split("test").labelled("lesion")
    found = [to_grid(Scored(one.score, one.lungs), 64) for one in SlicePredictor.load(weights).predict_rows(rows)]
    score = np.rint(np.concatenate([one.score[one.lungs] for one in found]).astype(np.float64) * 65535) / 65535
    truth = np.concatenate([read_mask(row, "a", 64)[one.lungs] for row, one in zip(rows, found, strict=True)])
    share, mean = calibration_curve(truth, score, n_bins=10)
    known = json.loads((report / "metrics.json").read_text())["reliability"]["lesionsplit"]["a"]
    assert [one for one in known["score"] if one is not None] == pytest.approx(list(mean))
    assert [one for one in known["outlined"] if one is not None] == pytest.approx(list(share))
    calibration = (report / "metrics.md").read_text().partition("## Outlined fraction")[2]
    cells = rows_of(calibration, "### Against annotator a")["**lesionsplit**"]
    shown = ["-" if one is None else f"{one:.2f}" for one in known["outlined"]]
    assert cells == [
        one for one, column in zip(shown, known["outlined"], strict=True) if column is not None or "-" in cells
    ]


def test_numbers_carry_their_convention(report: Path) -> None:
    conventions = json.loads((report / "metrics.json").read_text())["conventions"]
    assert conventions["split"] == "test"
    assert conventions["resolution"] == 64
    assert len(conventions["weights"]) == 64
    assert "bootstrap" in conventions["interval"]
    assert conventions["neighbours of lesionsplit"] == 0.0


def test_an_upper_bound_is_called_one(phantom_folder: Path, weights: Path, card: ModelCard, tmp_path: Path) -> None:
    model = Model.load(weights)
    for supervision in ("image labels only", "masks of annotator a of the train split: a supervised upper bound"):
        told = msgspec.structs.replace(card, trained={"supervision": supervision})
        Model(told, model.network).save(tmp_path / "weights.safetensors")
        evaluate(tmp_path / "weights.safetensors", phantom_folder, out=tmp_path / "out", resolution=64)
        conventions = json.loads((tmp_path / "out/metrics.json").read_text())["conventions"]
        assert conventions["supervision of lesionsplit"] == supervision
        assert f"Supervision of lesionsplit: {supervision}.\n" in (tmp_path / "out/metrics.md").read_text()


def test_images_show_something(report: Path) -> None:
    for name in ("examples.png", "worst.png", "random.png", "precision-recall.png", "dice.png", "reliability.png"):
        picture = np.asarray(Image.open(report / name).convert("L"))
        assert picture.std() > 10
    for name in ("precision-recall.svg", "dice.svg", "reliability.svg"):
        assert ElementTree.parse(report / name).getroot().tag.endswith("svg")  # noqa: S314  our own file


def test_without_masks_there_is_nothing_to_evaluate(tmp_path: Path, phantom_folder: Path, weights: Path) -> None:
    for label in ("normal", "lesion"):
        (tmp_path / label).mkdir()
        source = phantom_folder / f"images/{label}_1.png"
        (tmp_path / label / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match="has no masks in split 'train'"):
        evaluate(weights, tmp_path, split="train", out=tmp_path / "out")
    with pytest.raises(DataError, match="has no slice in split 'test'; found: train"):
        evaluate(weights, tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def lesions_only(phantom_folder: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on a data set that has the test split's lesion slices and nothing else."""
    root = tmp_path_factory.mktemp("lesions")
    shutil.copytree(phantom_folder, root / "data")
    table = root / "data/slices.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *(row for row in rows if ",lesion,test," in row)]) + "\n")
    evaluate(weights, root / "data", out=root / "report", resolution=64)
    return root / "report"


def test_without_normal_slices_lesion_slices_are_measured_as_ever(lesions_only: Path, report: Path) -> None:
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (lesions_only, report))
    assert found["methods"]["lesionsplit"] == expected["methods"]["lesionsplit"]  # at the model's own threshold
    assert found["chance"] == expected["chance"]
    assert found["annotators"] == expected["annotators"]
    assert found["agreed"] == expected["agreed"]
    with_normals = (report / "per_slice.csv").read_text().splitlines()
    assert (lesions_only / "per_slice.csv").read_text().splitlines() == [
        line for line in with_normals if ",normal," not in line
    ]
    for annotator, numbers in found["methods"]["opening"].items():
        for name, estimate in expected["methods"]["opening"][annotator].items():
            missing = {"value": None, "low": None, "high": None}
            assert numbers[name] == (missing if name.startswith("dice_stored") else estimate), name
    conventions = found["conventions"]
    assert conventions["threshold of opening"] is None
    assert conventions["threshold of opening from"] == "nothing: the data set has no normal slice to set it on"
    assert conventions["threshold of lesionsplit"] == 0.2
    assert conventions["threshold of lesionsplit from"] == "a guess"
    assert conventions["normal slices"] == 0


def test_without_normal_slices_what_needs_them_is_a_dash(lesions_only: Path) -> None:
    ours, openings = (json.loads((lesions_only / "metrics.json").read_text())["slices"][m] for m in METHODS)
    missing = {"value": None, "low": None, "high": None}
    for name in (
        "false_positive_fraction",
        "normal_series_marked",
        "worst_normal_series",
        "score_of_normal",
        "specificity",
        "auroc",
    ):
        assert ours[name] == openings[name] == missing
    assert ours["sensitivity"]["value"] is not None
    assert openings["sensitivity"] == missing
    text = (lesions_only / "metrics.md").read_text()
    assert (
        "Not measured on this data: false positive fraction of normal lung, normal series with more than 1 % of lung "
        "marked, the worst normal series, mean score, normal slices"
    ) in text
    assert rows_of(text, "### Against annotator a")["opening"][5] == "-"  # Dice, stored threshold
    assert {path.name for path in lesions_only.iterdir()} >= {
        "dice.png",
        "precision-recall.svg",
        "examples.png",
        "worst.png",
        "random.png",
    }


def test_slices_with_lungs_of_their_own_are_measured_as_lung_masked_ones(
    tmp_path: Path, phantom_folder: Path, weights: Path, report: Path
) -> None:
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    header, *rows = (data / "slices.csv").read_text().splitlines()
    (data / "lungs").mkdir()
    for row in rows:
        path = data / row.split(",")[0]
        grey = read_grey(path)
        inside = find_lungs(grey)
        Image.fromarray(np.where(inside, grey, 200).astype(np.uint8)).save(path)
        Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(data / "lungs" / path.name)
    lines = [f"{row},lungs/{Path(row.split(',')[0]).name}" for row in rows]
    (data / "slices.csv").write_text("\n".join([f"{header},lungs", *lines]) + "\n")
    evaluate(weights, data, out=tmp_path / "out", resolution=64)
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "out", report))
    for part in ("methods", "chance", "slices"):
        assert found[part] == expected[part]
