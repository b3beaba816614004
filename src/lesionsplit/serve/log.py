"""What a node logs: its own lines only, because those of libraries repeat values of headers."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Final

LIBRARIES: Final = ("pydicom", "pynetdicom", "dicomweb_client", "retrying", "uvicorn", "urllib3", "highdicom")


def silence_libraries() -> None:
    """Keep what libraries have to say about a file to themselves; failures reach the log by their own reason."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def log_to_terminal() -> None:
    """Print a line with its time for each thing that happens; a service manager keeps it."""
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("lesionsplit")
    log.addHandler(terminal)
    log.setLevel(min(logging.INFO, log.level or logging.INFO))
