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
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rounds import run

from lesionsplit.io.cases import find_cases
from lesionsplit.io.nifti import write_nifti
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


def measure(path: Path, out: Path, write: Iterable[str] = ()) -> dict[str, Any]:
    """Predict a volume in a process of its own: wall, stages, slices, peak memory, what it wrote."""
    words = [word for kind in write for word in ("--write", kind)]
    command = [sys.executable, "-m", "lesionsplit", "predict", path.resolve(), "-r", "-o", out.resolve(), *words]
    ran = run(command, stderr=subprocess.DEVNULL)
    (manifest,) = out.glob("*/manifest.json")
    said = json.loads(manifest.read_text())
    return {
        "seconds": ran.seconds,
        "stages": said["seconds"],
        "shape": said["input"]["shape"],
        "peak_mib": ran.peak_mib,
        "written": {file.name: file.stat().st_size for file in sorted(manifest.parent.iterdir())},
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("volume", type=Path)
    options.add_argument("--slices", type=int)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--json", action="store_true", help="print what was measured as JSON")
    options.add_argument("--write", action="append", default=[], help="only these files, see lesionsplit predict")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = longer(given.volume, given.slices, Path(folder)) if given.slices else given.volume
        several = [measure(path, Path(folder) / f"out{repeat}", given.write) for repeat in range(given.repeats)]
    best = min(several, key=lambda one: one["seconds"])
    if given.json:
        print(json.dumps(best))
        return
    walls = np.round([one["seconds"] for one in several], 1)
    columns, rows, slices = best["shape"]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{slices} slices of {rows} x {columns}: {best['seconds']:.1f} s (of {given.repeats}: {walls})")
    for stage, took in best["stages"].items():
        print(f"  {stage:10s} {took:6.2f} s  {1000 * took / slices:6.1f} ms a slice")
    rest = best["seconds"] - sum(best["stages"].values())
    print(f"  {'the rest':10s} {rest:6.2f} s  start, imports, end")
    print(f"peak memory {max(one['peak_mib'] for one in several):.0f} MiB")
    for name, size in best["written"].items():
        print(f"  {name:18s} {size / 2**20:7.2f} MiB")


if __name__ == "__main__":
    main()
