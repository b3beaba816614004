from __future__ import annotations

from typing import get_args

import msgspec

from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import supervision


def test_only_the_upper_bound_can_name_an_annotator() -> None:
    kinds = set(get_args(AnyMethod))
    named = {kind for kind in kinds if any(field.name == "annotator" for field in msgspec.structs.fields(kind))}
    assert named == {SupervisedSettings}
    for kind in kinds - named:
        assert kind().annotator is None
        assert supervision(kind().annotator) == "image labels only"


def test_an_upper_bound_is_called_one() -> None:
    expected = "masks of annotator b of the train split: a supervised upper bound"
    assert supervision(SupervisedSettings(annotator="b").annotator) == expected
