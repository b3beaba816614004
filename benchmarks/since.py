"""This version and another commit's, in turns: wall time and peak memory of `lesionsplit predict`, start to end.

The other version's source tree is a worktree: ``git worktree add --detach ../before COMMIT``. Both are run by this
interpreter, so what both need must be installed in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rounds import ROOT, Ran, run
from volume import longer

NOW, BEFORE = "now", "before"


def predict(tree: Path, source: Path, options: Sequence[str] = ()) -> Ran:
    """One call in a process of its own, with the code of a source tree."""
    with tempfile.TemporaryDirectory() as out:
        environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
        command = [sys.executable, "-m", "lesionsplit", "predict", source, "-o", f"{out}/found", *options]
        return run(command, env=environment, stderr=subprocess.DEVNULL)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("before", type=Path, help="the other version's source tree")
    options.add_argument("sources", type=Path, nargs="+", help="what is predicted: volumes, images")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--slices", type=int, help="repeat each volume to so many slices, as one NIfTI file")
    chosen = options.parse_args()
    trees = {NOW: ROOT, BEFORE: chosen.before.resolve()}
    print("| source | before, s | now, s | ratio | peak MiB before, now |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for source in chosen.sources:
            given = longer(source, chosen.slices, Path(folder)) if chosen.slices else source.resolve()
            found: dict[str, list[Ran]] = {name: [] for name in trees}
            for number in range(chosen.rounds):
                for name in (BEFORE, NOW) if number % 2 == 0 else (NOW, BEFORE):
                    found[name].append(predict(trees[name], given))
            ratio = statistics.median(
                now.seconds / before.seconds for now, before in zip(found[NOW], found[BEFORE], strict=True)
            )
            seconds = {name: statistics.median(one.seconds for one in several) for name, several in found.items()}
            peaks = {name: max(one.peak_mib for one in several) for name, several in found.items()}
            print(
                f"| {source.name} | {seconds[BEFORE]:.2f} | {seconds[NOW]:.2f} | {ratio:.2f} "
                f"| {peaks[BEFORE]:.0f}, {peaks[NOW]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
