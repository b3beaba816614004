from __future__ import annotations

import subprocess
import sys

import pytest

import lesionsplit


def test_every_public_name_is_there_and_documented() -> None:
    assert lesionsplit.__all__ == sorted(lesionsplit.__all__)
    for name in lesionsplit.__all__:
        assert getattr(lesionsplit, name).__doc__


def test_the_version_is_known() -> None:
    assert lesionsplit.__version__.count(".") == 2


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = lesionsplit.Segmentor


def test_importing_the_package_is_light() -> None:
    code = "import sys, lesionsplit; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'click')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
