"""Fuzz the binary formats: `python -m tests.reliability.fuzz FOLDER -max_total_time=3600`.

The environment needs atheris, which is no dependency: `pip install atheris`. FOLDER/corpus holds what was found,
FOLDER/faults one file for each fault and what was said. `FOLDER --pack` puts the smallest inputs of each kind, and all
that were faults, into corpus.zip beside this file.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lesionsplit.io", "lesionsplit.images", "nibabel", "pydicom"]):
    from .inputs import first_inputs, packed, scratch_folder, tried


def main() -> None:
    folder, *options = sys.argv[1:]
    corpus, faults = Path(folder) / "corpus", Path(folder) / "faults"
    corpus.mkdir(parents=True, exist_ok=True)
    faults.mkdir(exist_ok=True)
    for name, content in first_inputs().items():
        (corpus / name).write_bytes(content)
    known: set[str] = set()

    def one(data: bytes) -> None:
        (faults / "last").write_bytes(data)  # the one to blame where the process dies
        found = tried(data)
        if found.right:
            return
        said = found.said.replace(str(scratch_folder()), "")
        places = [line for line in said.splitlines() if "lesionsplit" in line] or [said]
        key = hashlib.sha256((found.fate + places[-1]).encode()).hexdigest()[:12]
        if key not in known:
            known.add(key)
            (faults / key).write_bytes(data)
            (faults / f"{key}.txt").write_text(f"{found.fate}\n{found.said}")

    if "--pack" in options:
        packed(corpus, faults, Path(__file__).parent / "corpus.zip")
        return
    atheris.Setup(["fuzz", str(corpus), *options], one)
    sys.stdout.flush()
    quiet = os.open(os.devnull, os.O_WRONLY)
    log = os.open(str(Path(folder) / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(quiet, 1)
    os.dup2(log, 2)
    atheris.Fuzz()


main()
