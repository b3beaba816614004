"""Files and tables of the numbers: the same numbers, names, units and reasons in all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from lesionsplit.errors import SettingsError
from lesionsplit.measurements.definitions import CASE, LESION, REGION, ZONE, Definition
from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import Lesion, Measurements, Missing, Region, Zone
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.measurements.tables import CASE_REGION, described, row, show, to_csv, to_json
from lesionsplit.settings import from_table
from lesionsplit.volumes.decomposed import DecomposedVolume


@pytest.fixture(scope="module")
def measures(make_findings: Callable[..., DecomposedVolume]) -> Measurements:
    """Of a box of 10 x 8 x 6 voxels in the right lung and a speck in the left."""
    lesion = np.zeros((40, 30, 20), dtype=bool)
    lesion[2:12, 5:13, 4:10] = lesion[30, 20, 15] = True
    return measure(make_findings(lesion, np.array([[-1.0, 0, 0, 20], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])))


def test_every_number_has_one_definition() -> None:
    assert [one.key for one in REGION] == [name for name in Region.__struct_fields__ if name != "name"]
    apart = {"name", "regions", "zones", "lesions", "left_out", "profile", "settings", "notes"}
    assert [one.key for one in CASE] == [name for name in Measurements.__struct_fields__ if name not in apart]
    assert [one.key for one in LESION] == list(Lesion.__struct_fields__)
    assert [one.key for one in ZONE] == [name for name in Zone.__struct_fields__ if name != "name"]
    units = {"ml": "mL", "percent": "%", "hu": "HU", "g": "g", "mm": "mm"}
    for one in (*REGION, *CASE, *ZONE, *LESION):
        assert one.unit == units.get(one.key.rpartition("_")[2], "")
        assert one.explain(MeasurementSettings()).endswith(".")
        assert "{" not in one.explain(MeasurementSettings())


def test_percentiles_are_named() -> None:
    found = {one.key: (one.name, one.unit, one.digits) for one in REGION if one.key.startswith("lesion_p")}
    assert found == {
        "lesion_p5_hu": ("lesion density, 5th percentile", "HU", 0),
        "lesion_p25_hu": ("lesion density, 25th percentile", "HU", 0),
        "lesion_p50_hu": ("lesion density, median", "HU", 0),
        "lesion_p75_hu": ("lesion density, 75th percentile", "HU", 0),
        "lesion_p95_hu": ("lesion density, 95th percentile", "HU", 0),
    }


def test_explanations_say_the_ranges_that_were_used() -> None:
    by_key = {one.key: one for one in (*REGION, *CASE)}
    settings = MeasurementSettings(ground_glass=(-800.0, -450.5), smallest_lesion_ml=0.25)
    assert "-800 to -450.5 HU" in by_key["ground_glass_ml"].explain(settings)
    assert "0.25 mL" in by_key["lesion_count"].explain(settings)


def test_json_comes_back_as_it_was(measures: Measurements) -> None:
    text = to_json(measures)
    assert msgspec.json.decode(text, type=Measurements) == measures
    assert '"severity_score": {\n    "missing": "not computed: no lobes"\n  }' in text


def test_csv_has_every_number_once_with_its_unit_or_its_reason(measures: Measurements) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(measures))))
    assert list(rows[0]) == ["region", "measure", "value", "unit", "text", "why_missing"]
    assert len(rows) == 3 * len(REGION) + len(CASE) + 6 * len(ZONE) + len(measures.lesions) * (
        len(LESION) + 5
    )  # 3 points
    cells = {(one["region"], one["measure"]): one for one in rows}
    assert len(cells) == len(rows)
    for one in rows:
        assert sum(map(bool, (one["value"], one["text"], one["why_missing"]))) == 1
        assert not one["value"] or np.isfinite(float(one["value"]))
    assert cells["right lung", "lesion_ml"]["value"] == "0.96"
    assert cells["right lung", "lesion_ml"]["unit"] == "mL"
    assert cells["left lung", "lesion_ml"]["value"] == "0.002"
    assert cells["scan", "lesion_count"]["value"] == "1"
    assert cells["scan", "severity_score"]["why_missing"] == "not computed: no lobes"
    assert [cells["lesion 1", f"centre_ras_mm_{axis}"]["value"] for axis in "xyz"] == ["13.5", "8.5", "13"]
    assert cells["lesion 1", "side"]["text"] == "right"
    assert cells["lesion 1", "lobe"]["why_missing"] == "not computed: no lobes"
    assert cells["lesion 1", "axial_diameter_mm"]["value"] == "12.8062"  # the root of 164


def test_a_row_for_the_table_over_cases(measures: Measurements) -> None:
    assert row(measures) == {
        "name": "ct",
        "lung_ml": "48",
        "lesion_ml": "0.962",
        "opacity_percent": "2.00417",
        "right_opacity_percent": "4",
        "left_opacity_percent": "0.00833333",
        "high_opacity_percent": "0",
        "ground_glass_ml": "0.962",
        "consolidation_ml": "0",
        "lesions": "1",
        "largest_axial_diameter_mm": "12.8062",
        "severity_score": "",
        "zone_score": "2",
        "highest_slice_score": "1",
        "why_missing": "severity_score not computed: no lobes",
        "notes": "",
    }
    doubtful = msgspec.structs.replace(measures, notes=["the scan cuts the lungs", "pixels of 8 mm"])
    assert row(doubtful)["notes"] == "the scan cuts the lungs; pixels of 8 mm"


def test_the_page_gets_each_number_with_what_it_means(measures: Measurements) -> None:
    regions, scan, lesions = described(measures)
    found = {one.definition.key: one for one in (*regions, *scan)}
    assert list(found) == [one.key for one in (*REGION, *CASE)]
    assert found["opacity_percent"].values == {"both lungs": "2.00", "right lung": "4.00", "left lung": "0.01"}
    assert found["severity_score"].values == {CASE_REGION: "not computed: no lobes"}
    assert found["ground_glass_ml"].explanation.startswith("Lesion of -750 to -300 HU")
    assert found["opacity_percent"].definition.source.startswith("Chaganti")
    assert {tuple(one.values) for one in lesions} == {("1",)}
    cells = {one.definition.key: one.values["1"] for one in lesions}
    assert cells["side"] == "right"
    assert cells["lobe"] == "not computed: no lobes"
    assert cells["centre_ras_mm"] == "14, 8, 13"
    assert cells["volume_ml"] == "0.96"


def test_what_is_shown_is_rounded_without_a_negative_zero() -> None:
    percent = Definition("a", "a", "%", 1, "A.")
    assert [show(value, percent) for value in (-0.04, 12.25, 7, Missing("why"), "left")] == [
        *("0.0", "12.2", "7", "why", "left")
    ]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"ground_glass": [-300.0, -750.0]}, "ground_glass: -300 to -750 HU; allowed: a lower end below"),
        ({"ground_glass": [-750.0, -250.0]}, "ground_glass ends at -250 HU, consolidation begins at -300; allowed"),
        ({"smallest_lesion_ml": -1.0}, "smallest_lesion_ml: -1; allowed: 0 or more"),
        ({"lesions_listed": -1}, "lesions_listed: -1; allowed: 0 or more"),
        (
            {"ground_glas": [0.0, 1.0]},
            "measures: unknown setting ground_glas; allowed here: well_aerated, ground_glass",
        ),
    ],
)
def test_settings_that_are_refused(table: dict[str, object], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_table(MeasurementSettings, table, source="measures")
    assert str(caught.value).startswith(line)
