from __future__ import annotations

import pytest
import torch

from lesionsplit import cores
from lesionsplit.runtime import Runtime


def test_threads_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    Runtime(threads=3).begin()
    assert cores.threads() == torch.get_num_threads() == 3
    Runtime().begin()
    assert cores.threads() == 3, "another call's choice stays"
