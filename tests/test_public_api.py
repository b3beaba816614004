"""The public names, their signatures, and what importing them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import lesionsplit

SIGNATURES = {
    "compare": "(config, data, out, *, only, train_only, runtime)",
    "evaluate": "(weights, data, *, split, out, resolution, threshold, runtime)",
    "load_model": "(weights)",
    "predict": "(source, *, weights, threshold, affine, runtime, **options)",
    "read_volume": "(path, *, intensity, force)",
    "train": "(data, run, *, config, runtime, **settings)",
}
"""Of the functions: a change here is a change for every user."""

METHODS = {
    "Predictor": {
        "load": "(weights, *, threshold, runtime)",
        "predict": "(source, *, affine, **options)",
        "predict_many": "(sources, **options)",
    },
    "Result": {"save": "(folder, write)", "show": "()"},
}

ATTRIBUTES = {
    "Result": {"healthy", "image", "kinds", "lesion", "lungs", "name", "notes", "numbers", "score"},
    "Runtime": {"device", "engine", "framework", "progress", "say", "threads", "warn"},
}

ERRORS = {
    "DataError": "LesionsplitError",
    "DivergedError": "RunError",
    "LesionsplitError": "Exception",
    "NoLungError": "DataError",
    "RunError": "LesionsplitError",
    "SettingsError": "LesionsplitError",
    "WeightsError": "LesionsplitError",
}


def signature(function: object) -> str:
    """The names of a function's parameters and their kinds, without types and defaults."""
    plain = [
        one.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for one in inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        if one.name != "self"
    ]
    return str(inspect.Signature(plain))


def test_the_public_names_are_these() -> None:
    expected = {*SIGNATURES, *METHODS, *ATTRIBUTES, *ERRORS}
    assert set(lesionsplit.__all__) == expected
    assert lesionsplit.__all__ == sorted(lesionsplit.__all__)
    assert expected | {"__version__"} <= set(dir(lesionsplit))


def test_every_public_name_is_documented() -> None:
    for name in lesionsplit.__all__:
        assert getattr(lesionsplit, name).__doc__


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_has_this_signature(name: str) -> None:
    assert signature(getattr(lesionsplit, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", METHODS)
def test_a_class_has_these_methods(name: str) -> None:
    kind = getattr(lesionsplit, name)
    assert {method: signature(getattr(kind, method)) for method in METHODS[name]} == METHODS[name]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_class_has_these_attributes(name: str) -> None:
    kind = getattr(lesionsplit, name)
    known = {*vars(kind), *getattr(kind, "__annotations__", {})}
    methods = {*METHODS.get(name, {}), "begin", "engine_for"}
    assert {one for one in known if not one.startswith("_")} - methods == ATTRIBUTES[name]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_a_kind_of(name: str) -> None:
    assert getattr(lesionsplit, name).__base__.__name__ == ERRORS[name]


def test_the_version_is_known() -> None:
    assert lesionsplit.__version__.count(".") == 2


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = lesionsplit.Segmentor


def test_importing_the_package_is_light() -> None:
    code = "import sys, lesionsplit; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'click')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_prediction_imports_nothing_of_training() -> None:
    code = (
        "import sys, numpy as np, lesionsplit.pipeline.slices, lesionsplit.pipeline.volumes, lesionsplit.cli.predict; "
        "lesionsplit.predict(np.pad(np.full((64, 64), 90, np.uint8), 32)); "
        "sys.exit(', '.join({'lightning_fabric', 'torch._dynamo', 'lesionsplit.training'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
