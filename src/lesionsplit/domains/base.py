"""The interface that each domain offers to the methods; `table.domain_of` gives the one of a kind of images."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lesionsplit.domains.defects import DefectSettings
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions
from lesionsplit.synthesis.scanner import ScannerSettings


class Drawing(Protocol):
    """How lesions are drawn: each domain has its own table, and ignores the other's."""

    @property
    def lesions(self) -> LesionSettings:
        """In lungs."""

    @property
    def defects(self) -> DefectSettings:
        """In images of anything."""


class Conspicuity(Protocol):
    """How much lung must stand out to be outlined; see `methods.synthesis.Calibration`."""

    @property
    def faint(self) -> float:
        """Contrast that has half of the lowest weight."""

    @property
    def conspicuous(self) -> float:
        """Contrast from which the weight is one."""

    @property
    def healthy(self) -> float:
        """Distance of a logit from zero below which a pixel is healthy."""


class Domain(Protocol):
    """What a method may know of its images; all are (B, C, H, W), in network grey."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def signed(self) -> bool:
        """Whether a lesion may be darker than what it covers."""

    @property
    def softness(self) -> float:
        """What the temperature of scores that are learnt from drawn lesions is multiplied with."""

    def region(self, images: Tensor) -> Tensor:
        """1 inside the region that counts, 0 outside, (B, 1, H, W)."""

    def lesion_part(self, change: Tensor) -> Tensor:
        """The part of a change, an image less its healthy version, that a lesion can have."""

    def size(self, change: Tensor) -> Tensor:
        """How large such a part is at each pixel, (B, 1, H, W), not negative."""

    def visible(self, images: Tensor) -> Tensor:
        """Images of any network grey, clipped to what images of the domain have."""

    def with_rim(self, region: Tensor) -> Tensor:
        """The region, (B, 1, H, W), and what beside it is scored."""

    def score_rim(self, score: Tensor, region: Tensor, fraction: float) -> Tensor:
        """Scores of that, (B, 1, H, W): at least a fraction of the neighbours' highest."""

    def conspicuity(self, images: Tensor, logit: Tensor, settings: Conspicuity) -> Tensor:
        """Weight of the score of each pixel, 0 to 1, (B, 1, H, W)."""

    def settled(self, predicted: Tensor) -> Tensor:
        """Where a network may learn from its own predictions, (B, 1, H, W); these are logits, 0 the most for normal."""

    def draw(self, normal: Tensor, others: Tensor, settings: Drawing) -> SyntheticLesions:
        """Normal images with drawn lesions; ``others`` are images of both labels, whose parts may be used."""

    def share(self, healthy: Tensor, added: Tensor) -> Tensor:
        """What a drawn lesion adds, as a fraction of the contrast that the images have, (B, 1, H, W)."""

    def vary(self, images: Tensor, region: Tensor, settings: ScannerSettings) -> Tensor:
        """Images as another device would have taken them."""

    def full_lesion(self, images: Tensor, targets: Tensor, healthy: Tensor) -> Tensor:
        """What the lesions of images add where teachers remove part of them; see `methods.distilled`."""
