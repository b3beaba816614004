from __future__ import annotations

import numpy as np
import pytest
import torch

from lesionsplit.synthesis import transplant
from lesionsplit.synthesis.transplant import transplanted


def test_what_was_taken_off_is_put_into_normal_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([torch.tensor([0.2, 0.8]).view(2, 1, 1, 1), torch.tensor([0.5, 1.5]).view(2, 1, 1, 1)])
    monkeypatch.setattr(transplant, "uniform", lambda *_: next(draws))
    row = torch.tensor([0.04, 0.4, 0.2, 0.6])
    lesion = row.expand(2, 1, 1, 4).clone().requires_grad_()
    normal, lungs = torch.tensor([0.1, 0.5, 0.1, 0.1]).expand(2, 1, 1, 4), torch.tensor([1.0, 1.0, 1.0, 0.0])
    made = transplanted(normal, lungs.expand(2, 1, 1, 4), lesion)
    # mirrored and half as dense; as it was and half as dense again, but not brighter than the brightest
    expected = [[0.3, 0.1, 0.2, 0.0], [0.0, 0.5, 0.3, 0.0]]
    np.testing.assert_allclose(made.lesion.reshape(2, 4).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose((made.images - normal).numpy(), made.lesion.numpy(), atol=1e-6)
    assert not made.lesion.requires_grad
