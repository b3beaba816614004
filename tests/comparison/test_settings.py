from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.comparison.settings import ComparisonSettings, read_comparison
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, SettingsError


def written(tmp_path: Path, text: str) -> ComparisonSettings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_comparison(str(path))


OURS = '[[entry]]\nname = "ours"\nconfig = "small"\n'


def test_a_comparison_names_its_entries(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        f'reference = "ours"\nseeds = [0, 3]\n{OURS}'
        '[[entry]]\nname = "flat"\nuntrained = "opening"\n'
        '[[entry]]\nname = "again"\nreads = "ours"\nfigure = "ablations"\nmethod = {heat_map = "residual"}\n',
    )
    assert [(entry.name, entry.trained, entry.figure) for entry in config.entry] == [
        ("ours", True, "methods"),
        ("flat", False, "methods"),
        ("again", False, "ablations"),
    ]
    assert [entry.name for entry in config.chosen(("again",))] == ["ours", "again"]
    assert config.chosen(()) == config.entry


@pytest.mark.parametrize(
    ("name", "reference", "fewest"),
    [
        ("figures", "separation", 19),
        ("looks", "separation", 24),
        ("phantom", "decomposition", 14),
        ("teachers", "taught-by-diffusion", 5),
    ],
)
def test_the_packages_own_comparisons_are_read(name: str, reference: str, fewest: int) -> None:
    config = read_comparison(name)
    assert config.reference == reference
    assert len(config.entry) >= fewest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'reference = "theirs"\n{OURS}', "reference 'theirs': no such entry; found: ours"),
        (f'reference = "ours"\n{OURS}{OURS}', "entry 'ours': 2 entries have this name; give each its own"),
        (
            f'reference = "ours"\n{OURS}untrained = "opening"\n',
            "entry 'ours': has 2 of config or method, reads, weights and untrained; give exactly one",
        ),
        (
            'reference = "ours"\n[[entry]]\nname = "ours"\n',
            "entry 'ours': has 0 of config or method, reads, weights and untrained; give exactly one",
        ),
        (
            'reference = "ours"\n[[entry]]\nname = "ours"\nuntrained = "closing"\n',
            "entry 'ours': untrained is 'closing'; allowed: deviation, opening, smoothing",
        ),
        (
            f'reference = "ours"\n{OURS}[[entry]]\nname = "b"\nreads = "c"\n',
            "entry 'b': reads 'c': no such entry; found: ours, b",
        ),
        (
            f'reference = "ours"\n{OURS}[[entry]]\nname = "b"\nreads = "ours"\n[[entry]]\nname = "c"\nreads = "b"\n',
            "entry 'c': reads 'b', which this comparison does not train",
        ),
        (
            f'reference = "ours"\n{OURS}[[entry]]\nname = "chance"\nconfig = "small"\n',
            "entry 'chance': a random score has this name in tables; give another",
        ),
        ('reference = "o/"\n[[entry]]\nname = "o/"\nconfig = "small"\n', "allowed in a name: small letters, digits"),
        (f'reference = "ours"\nsplit = "all"\n{OURS}', "split"),
        (
            f'reference = "ours"\nsplit = "train"\n{OURS}',
            "split is 'train', on which entries are trained; allowed: val",
        ),
        (f'reference = "ours"\nseed = 1\n{OURS}', "unknown setting seed; allowed here: entry, reference"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        written(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_comparison_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none: no such comparison; give a \.toml file, or one of figures"):
        read_comparison("none")


def test_data_without_masks_is_refused_before_training(tmp_path: Path, phantom: Table) -> None:
    config = written(tmp_path, f'reference = "ours"\n{OURS}')
    config.check(phantom)
    with pytest.raises(DataError, match="has no masks in split 'test'; a comparison needs columns mask_"):
        config.check(phantom.without_masks())
