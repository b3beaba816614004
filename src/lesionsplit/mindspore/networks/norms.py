"""Normalisations with the names of PyTorch's weights. The twins are classes of `torch.nn`."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

EPSILON = 1e-5
"""Added to variances."""

MOMENTUM = 0.1
"""Weight of a batch in the running statistics."""


class BatchNorm(nn.Cell):
    """`torch.nn.BatchNorm2d`: each feature of (B, C, H, W), over slices and pixels.

    MindSpore's own kernel is faster and less exact: on lung-masked slices its gradients differ from float64 by 2e-3,
    these by 4e-4, as PyTorch's do (2.10, CPU).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = _affine(width)
        self.running_mean = Parameter(Tensor(np.zeros(width, np.float32)), requires_grad=False)
        self.running_var = Parameter(Tensor(np.ones(width, np.float32)), requires_grad=False)
        self.num_batches_tracked = Parameter(Tensor(np.array(0, np.int64)), requires_grad=False)

    def construct(self, features: Tensor) -> Tensor:
        """Features of the same shape; in training, the running statistics move towards those of the batch."""
        if self.training:
            mean = features.mean(axis=(0, 2, 3), keep_dims=True)
            centred = features - mean
            variance = ops.square(centred).mean(axis=(0, 2, 3), keep_dims=True)
            count = features.shape[0] * features.shape[2] * features.shape[3]
            self._track(ops.stop_gradient(mean), ops.stop_gradient(variance) * (count / (count - 1)))
        else:
            centred = features - _each(self.running_mean)
            variance = _each(self.running_var)
        return centred * ops.rsqrt(variance + EPSILON) * _each(self.weight) + _each(self.bias)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        ops.assign_add(self.num_batches_tracked, 1)
        ops.assign_add(self.running_mean, MOMENTUM * (mean.reshape((-1,)) - self.running_mean))
        ops.assign_add(self.running_var, MOMENTUM * (variance.reshape((-1,)) - self.running_var))


class GroupNorm(nn.Cell):
    """`torch.nn.GroupNorm`: each group of features of each slice of (B, C, H, W).

    With a group for each feature it is `torch.nn.InstanceNorm2d` with weights.
    """

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight, self.bias = _affine(width)

    def construct(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        grouped = features.reshape((features.shape[0] * self.groups, -1))  # means of matrices are four times as fast
        centred = grouped - grouped.mean(axis=1, keep_dims=True)
        variance = ops.square(centred).mean(axis=1, keep_dims=True)
        normal = (centred * ops.rsqrt(variance + EPSILON)).reshape(features.shape)
        return normal * _each(self.weight) + _each(self.bias)


def _affine(width: int) -> tuple[Parameter, Parameter]:
    return Parameter(Tensor(np.ones(width, np.float32))), Parameter(Tensor(np.zeros(width, np.float32)))


def _each(values: Tensor) -> Tensor:
    """One value for each feature, (C,), as (1, C, 1, 1)."""
    return values.reshape((1, -1, 1, 1))
