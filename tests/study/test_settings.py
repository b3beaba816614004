from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.study.settings import StudySettings, read_study


def written(tmp_path: Path, text: str) -> StudySettings:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return read_study(str(path))


OURS = '[[entry]]\nname = "ours"\nconfig = "small"\n'


def test_a_study_names_its_entries(tmp_path: Path) -> None:
    study = written(
        tmp_path,
        f'reference = "ours"\nseeds = [0, 3]\n{OURS}'
        '[[entry]]\nname = "flat"\nuntrained = "opening"\n'
        '[[entry]]\nname = "again"\nreads = "ours"\nfigure = "ablations"\nmethod = {heat_map = "residual"}\n',
    )
    assert [(entry.name, entry.trained, entry.figure) for entry in study.entry] == [
        ("ours", True, "methods"),
        ("flat", False, "methods"),
        ("again", False, "ablations"),
    ]
    assert [entry.name for entry in study.chosen(("again",))] == ["ours", "again"]
    assert study.chosen(()) == study.entry


@pytest.mark.parametrize("name", ["figures", "phantom"])
def test_the_packages_own_studies_are_read(name: str) -> None:
    study = read_study(name)
    assert study.reference == "decomposition"
    assert len(study.entry) >= 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'reference = "theirs"\n{OURS}', "reference 'theirs': no such entry; found: ours"),
        (f'reference = "ours"\n{OURS}{OURS}', "entry 'ours': there are 2 of this name; give each its own"),
        (
            f'reference = "ours"\n{OURS}untrained = "opening"\n',
            "entry 'ours': exactly one of these says what it is: config or method, reads, weights, untrained; found 2",
        ),
        (
            'reference = "ours"\n[[entry]]\nname = "ours"\n',
            "entry 'ours': exactly one of these says what it is: config or method, reads, weights, untrained; found 0",
        ),
        (
            'reference = "ours"\n[[entry]]\nname = "ours"\nuntrained = "closing"\n',
            "entry 'ours': untrained is 'closing'; allowed: opening, smoothing",
        ),
        (
            f'reference = "ours"\n{OURS}[[entry]]\nname = "b"\nreads = "c"\n',
            "entry 'b': reads 'c': no such entry; found: ours, b",
        ),
        (
            f'reference = "ours"\n{OURS}[[entry]]\nname = "b"\nreads = "ours"\n[[entry]]\nname = "c"\nreads = "b"\n',
            "entry 'c': reads 'b', which this study does not train",
        ),
        ('reference = "o/"\n[[entry]]\nname = "o/"\nconfig = "small"\n', "a name is of small letters, digits"),
        (f'reference = "ours"\nsplit = "train"\n{OURS}', "split"),
        (f'reference = "ours"\nseed = 1\n{OURS}', "unknown setting seed; allowed here: entry, reference"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        written(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none: no such study; give a \.toml file, or one of figures, phantom"):
        read_study("none")


def test_data_without_masks_is_refused_before_training(tmp_path: Path, phantom: Table) -> None:
    study = written(tmp_path, f'reference = "ours"\n{OURS}')
    study.check(phantom)
    with pytest.raises(DataError, match="has no masks in split 'test'; a comparison needs columns mask_"):
        study.check(phantom.without_masks())
