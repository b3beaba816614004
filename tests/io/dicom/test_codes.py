from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from lesionsplit.io.dicom import codes

TABLE = {name: code for name, code in vars(codes).items() if isinstance(code, Code)}

BEYOND_PYDICOM = {"MILLILITRE": "UCUM", "CT_CHEST": "LN"}
"""pydicom's tables have no millilitre, and call LOINC 24627-2 as a document title."""


def test_the_table_is_found() -> None:
    assert len(TABLE) > 30


@pytest.mark.parametrize(
    "name", [n for n, c in TABLE.items() if n not in BEYOND_PYDICOM and c.scheme_designator != codes.SCHEME]
)
def test_standard_codes_are_the_standards(name: str) -> None:
    code = TABLE[name]
    meanings = {
        meaning.removesuffix(" (observable entity)")
        for entries in concepts[code.scheme_designator].values()
        for value, (meaning, _) in entries.items()
        if value == code.value
    }
    assert code.meaning in meanings


@pytest.mark.parametrize("name", TABLE)
def test_codes_fit_into_their_elements(name: str) -> None:
    code = TABLE[name]
    assert 0 < len(code.value) <= 16, "SH"
    assert 0 < len(code.scheme_designator) <= 16, "SH"
    assert 0 < len(code.meaning) <= 64, "LO"


def test_each_code_is_there_once() -> None:
    assert len({(code.scheme_designator, code.value) for code in TABLE.values()}) == len(TABLE)


def test_our_scheme_is_marked_as_private() -> None:
    assert codes.SCHEME.startswith("99")
    assert {code.scheme_designator for code in TABLE.values()} == {"SCT", "DCM", "LN", "UCUM", codes.SCHEME}
