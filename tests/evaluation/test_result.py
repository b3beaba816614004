from __future__ import annotations

import pytest

from lesionsplit.evaluation.bootstrap import Estimate, Estimates
from lesionsplit.evaluation.result import CHANCE, Evaluation


def measured(value: float) -> Estimates:
    return {"average_precision": Estimate(value)}


EVALUATION = Evaluation(
    conventions={},
    chance={"b": measured(0.1), "a": measured(0.2)},
    annotators={},
    methods={"ours": {"b": measured(0.3), "a": measured(0.4)}, "theirs": {"b": measured(0.5), "a": measured(0.6)}},
    agreed={"b and a": {CHANCE: measured(0.15), "ours": measured(0.7), "theirs": measured(0.8)}},
    reliability={},
    slices={},
    healthy={},
    removal={},
)


def test_the_annotators_judge_first_and_then_what_two_agree_on() -> None:
    assert EVALUATION.judges == ["b", "a", "b and a"]


@pytest.mark.parametrize(
    ("method", "values"),
    [("chance", (0.1, 0.2, 0.15)), ("ours", (0.3, 0.4, 0.7)), ("theirs", (0.5, 0.6, 0.8))],
)
def test_every_judge_has_numbers_of_every_method_and_of_chance(method: str, values: tuple[float, ...]) -> None:
    for judge, value in zip(EVALUATION.judges, values, strict=True):
        assert EVALUATION.against(method, judge) == measured(value)
