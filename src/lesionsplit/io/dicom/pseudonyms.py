"""UIDs that replace those of a patient's objects."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.uid import UID


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Replaces UIDs consistently and, once the secret is deleted, irreversibly.

    Use one for a whole run, so that several series of a study stay in one study.
    """

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def of(self, uid: str) -> UID:
        """The UID that replaces ``uid``."""
        from pydicom.uid import PYDICOM_ROOT_UID, UID  # images need none of pydicom

        digest = hashlib.blake2b(str(uid).encode(), key=self.secret, digest_size=16).digest()
        number = int.from_bytes(digest, "big")
        return UID(f"{PYDICOM_ROOT_UID}{number}"[:64])
