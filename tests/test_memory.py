"""Memory that is kept, and given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import re
import numpy as np
from lesionsplit.memory import give_back_memory, keep_freed_memory

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

keep_freed_memory()
blocks = [np.ones(1 << 20, np.uint8) for _ in range(200)]
del blocks
kept = resident()
give_back_memory()
print(kept, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_what_is_kept_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 200
    assert left < kept - 150
