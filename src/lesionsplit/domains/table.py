"""All domains."""

from __future__ import annotations

from lesionsplit.data.kind import ImageKind
from lesionsplit.domains.base import Domain
from lesionsplit.domains.images import ImageDomain
from lesionsplit.domains.lungs import LUNGS


def domain_of(kind: ImageKind) -> Domain:
    """The domain of a kind of images."""
    return LUNGS if kind.of_lungs else ImageDomain(kind.channels)
