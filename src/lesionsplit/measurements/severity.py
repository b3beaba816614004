"""Severity scores of radiologists, computed from measured volumes. Each needs the five lobes."""

from __future__ import annotations


def pan_grade(share: float) -> int:
    """Grade a lobe 0 to 5 by its fraction of lesion (Pan et al., Radiology 2020).

    The paper has 0 none, 1 below 5 %, 2 "25 %", 3 26 to 49 %, 4 50 to 75 %, 5 above 75 %, with gaps; here the
    grades are (0, 5), [5, 25], (25, 50), [50, 75] and above 75 %.
    The sum over five lobes is the CT severity score, 0 to 25.
    """
    if share <= 0:
        return 0
    if share < 0.05:
        return 1
    if share <= 0.25:
        return 2
    if share < 0.50:
        return 3
    return 4 if share <= 0.75 else 5


def lobe_grade(share: float) -> int:
    """Grade a lobe 0 to 4 by its fraction of lesion: none, then up to 25, 50, 75 and 100 %.

    The sum over five lobes is the lung severity score of Chaganti et al. (Radiology AI 2020), 0 to 20; for the
    fraction of high opacity it is their lung high opacity score.
    """
    return 0 if share <= 0 else 1 + (share > 0.25) + (share > 0.50) + (share > 0.75)
