from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lesionsplit.models.onnx_file import NO_TELEMETRY

SUPPRESSED = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_RUNNING_UNIT_TESTS", *NO_TELEMETRY)
"""Variables with which ONNX Runtime collects nothing by itself."""


def test_onnx_runtime_collects_nothing(tmp_path: Path) -> None:
    """It would leave the name of a session in a temporary folder, and send which models are run."""
    environment = {name: value for name, value in os.environ.items() if name not in SUPPRESSED}
    environment |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    code = "from lesionsplit.lungs.network import default_network; default_network()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*"))
