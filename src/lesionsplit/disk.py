"""Waiting until files and folders are on the disk, so that they survive a power failure."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

NOT_FOR_FOLDERS: Final = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES)
"""What systems answer that cannot open a folder (Windows), or cannot wait for one (some network file systems)."""


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder where the system can do that, are on the disk.

    Raises:
        OSError: the disk reports an error.
    """
    folder = path.is_dir()
    try:
        # Windows waits only for what may be written.
        file = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        if not folder or error.errno not in NOT_FOR_FOLDERS:
            raise


def sync_all(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk.

    Raises:
        OSError: the disk reports an error.
    """
    for place, folders, files in os.walk(path, topdown=False):
        for name in (*files, *folders):
            sync(Path(place) / name)
    sync(path)
