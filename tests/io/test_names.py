from __future__ import annotations

import pytest

from lesionsplit.io.names import LONGEST, safe, stem, unique


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ct.nii.gz", "ct"), ("CT.NII.GZ", "CT"), ("a.b.mha", "a.b"), ("IM1.dcm", "IM1"), ("x.zip", "x"),
        ("1.2.840.113", "1.2.840.113"), ("scan", "scan"), ("s.png", "s"),
    ],
)  # fmt: skip
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b/c\\d:e*f?", "a-b-c-d-e-f"), ("..", "case"), ("", "case"), ("../x", "x"), ("Größe 肺", "Größe-肺"),
        ("u\u0308", "ü"), ("x" * 100 + "y", "x" * (LONGEST - 1) + "y"), ("a\nb", "a-b"),
    ],
)  # fmt: skip
def test_safe(name: str, expected: str) -> None:
    assert safe(name) == expected


def test_unique() -> None:
    assert unique("ct", []) == "ct"
    assert unique("CT", ["ct", "ct-2"]) == "CT-3"
