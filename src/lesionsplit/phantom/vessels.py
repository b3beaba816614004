"""Branching vessels of a lung, as points with a radius."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lesionsplit.images import Float, resize

Points: TypeAlias = npt.NDArray[np.float64]
"""Rows of x, y, z, and for vessels the radius, in pixels."""

STEP = 2.0
"""Pixels between the points of a vessel."""

TIP_RADIUS = 0.55

SLAB = 1.4
"""Half the thickness of a slice, in pixels."""

SUPERSAMPLING = 2


def grow(rng: np.random.Generator, root: Points, targets: Points) -> Points:
    """Vessels from ``root`` (3,) to each of ``targets`` (n, 3); (m, 4).

    Targets are joined in the order of their distance to the root, each to the closest vessel, by a curve that
    branches off at an acute angle. The radius of a vessel follows from its number of tips (Murray's law).
    """
    distances = np.linalg.norm(targets - root, axis=1)
    room = len(targets) + int(distances.sum() / STEP) + 2  # no path is longer than that from the root
    nodes, headings = np.zeros((room, 3)), np.zeros((room, 3))
    parents = np.zeros(room, dtype=np.intp)
    nodes[0], count = root, 1
    for target in targets[np.argsort(distances)]:
        away = target - nodes[:count]
        cost = np.einsum("ij,ij->i", away, away)
        # avoid branches that turn back, even close ones
        cost[np.einsum("ij,ij->i", headings[:count], away) < 0] *= 2.5
        start = int(np.argmin(cost))
        length = float(np.linalg.norm(away[start]))
        bend = nodes[start] + 0.45 * length * headings[start] + rng.normal(0, 0.05 * length, 3)
        steps = max(1, int(length / STEP))
        t = np.linspace(0, 1, steps + 1)[:, None]
        path = (1 - t) ** 2 * nodes[start] + 2 * t * (1 - t) * bend + t**2 * target
        new = slice(count, count + steps)
        nodes[new] = path[1:]
        headings[new] = np.diff(path, axis=0) / (np.linalg.norm(np.diff(path, axis=0), axis=1, keepdims=True) + 1e-9)
        parents[new] = [start, *range(count, count + steps - 1)]
        count += steps
    tips = np.ones(count)
    tips[np.unique(parents[1:count])] = 0
    for node in range(count - 1, 0, -1):  # children come after their parents
        tips[parents[node]] += tips[node]
    return np.column_stack([nodes[:count], TIP_RADIUS * tips ** (1 / 2.6)])


def draw_vessels(points: Points, z: float, size: int) -> Float:
    """The cross-section of the vessels at ``z``, (size, size), 0 to 1; thin vessels are fainter."""
    depth = np.abs(points[:, 2] - z) - SLAB
    cut = points[depth < points[:, 3]]
    depth = np.clip(depth[depth < points[:, 3]], 0, None)
    half = np.sqrt(cut[:, 3] ** 2 - depth**2)
    bright = np.clip(0.30 + 0.32 * half, 0, 1) * np.clip(1.15 - 0.6 * depth / cut[:, 3], 0, 1)
    half = np.clip(half, 0.5, None)
    canvas = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for index in np.argsort(bright):
        x, y, r = cut[index, 0] * SUPERSAMPLING, cut[index, 1] * SUPERSAMPLING, half[index] * SUPERSAMPLING
        draw.ellipse((x - r, y - r, x + r, y + r), fill=int(255 * min(bright[index], 1)))
    return resize(np.asarray(canvas, dtype=np.float32) / np.float32(255), (size, size))
