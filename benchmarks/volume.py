"""Time and memory of a volume from files to report: `python benchmarks/volume.py ../shared/data/lidc-idri-0001`.

Runs `lesionsplit predict` as a user does, as a process of its own, and prints the wall time, what each
stage took, the process' peak memory, and the size of what it wrote. With ``--slices 1000`` the volume
is first repeated to so many slices and given as one NIfTI file, to see what grows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lesionsplit.cases.find import find_cases
from lesionsplit.volumes.nifti import write_nifti
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume


def longer(path: Path, slices: int, to: Path) -> Path:
    """The volume repeated, every other time upside down, so that neighbours fit; as a NIfTI file."""
    with Scratch() as scratch:
        volume = find_cases([path], recursive=True).cases[0].read(scratch)
        order = np.resize(np.r_[: volume.shape[2], volume.shape[2] - 1 : -1 : -1], slices)
        array = scratch.array((*volume.shape[:2], slices), volume.array.dtype)
        for k, source in enumerate(order):
            array[..., k] = volume.array[..., source]
        source = Source(kind="nrrd", path=path, name="longer")
        longer = Volume(array=array, affine=volume.affine, intensity=volume.intensity, source=source)
        write_nifti(to / "longer.nii", longer, array)
    return to / "longer.nii"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("volume", type=Path)
    options.add_argument("--slices", type=int)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--write", action="append", default=[], help="only these files, see lesionsplit predict")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = longer(given.volume, given.slices, Path(folder)) if given.slices else given.volume
        walls, manifests = [], []
        for repeat in range(given.repeats):
            out = Path(folder) / f"out{repeat}"
            write = [word for kind in given.write for word in ("--write", kind)]
            start = time.perf_counter()
            command = [sys.executable, "-m", "lesionsplit", "predict", path, "-r", "-o", out, *write]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            walls.append(time.perf_counter() - start)
            (manifest,) = out.glob("*/manifest.json")
            manifests.append(json.loads(manifest.read_text()))
            written = {file.name: file.stat().st_size for file in sorted(manifest.parent.iterdir())}
        best = int(np.argmin(walls))
        seconds = manifests[best]["seconds"]
        columns, rows, slices = manifests[best]["input"]["shape"]
        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        print(f"{slices} slices of {rows} x {columns}: {min(walls):.1f} s (of {given.repeats}: {np.round(walls, 1)})")
        for stage, took in seconds.items():
            print(f"  {stage:10s} {took:6.2f} s  {1000 * took / slices:6.1f} ms a slice")
        print(f"  {'the rest':10s} {walls[best] - sum(seconds.values()):6.2f} s  start, imports, end")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
        for name, size in written.items():
            print(f"  {name:18s} {size / 2**20:7.2f} MiB")


if __name__ == "__main__":
    main()
