"""What you wait for, beside other tools' networks on the same slices: `python -m benchmarks.peers`.

Each way runs in processes of its own, in turns, from slices of 512 x 512 pixels to a map of each; nothing but training
steps is warmed up. Times are those of the processor, start and imports included: on one thread, the default, they are
what one waits for on a quiet core, and other processes hardly change them.

The networks of others are written down from their papers, with random weights (`peer_networks`): fair for time and
memory. What their tools do besides, such as reading files and cleaning up masks, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rounds import in_turns, measured, run
from benchmarks.suite import environment

SIZE, SIDE = 512, 256
"""Pixels of the side of a slice, and of what the networks of others but nnU-Net's are shown."""

PAIRS = 2
"""Slices of each label in a step of the authors' network; the paper's 8 take 10 GB."""


class Job(NamedTuple):
    """What a way does in its process."""

    work: Callable[[], object]

    slices: int
    """How many of them it does."""

    once: float = 0.0
    """Seconds that a training takes besides, however many slices there are."""


class Way(NamedTuple):
    """One row of a table."""

    name: str
    key: str
    """Of `WORK`."""

    times: int = 1
    """As many times the slices of the slow ways are measured."""

    whole: int = 0
    """Slices of a whole training, over all epochs."""


GROUPS = {
    "lungs": [Way("lungmask's network (R231)", "lungmask"), Way("lesionsplit's lung network", "lungs", 3)],
    "lesions": [
        Way("nnU-Net 2-D, averaged over four mirror images", "nnunet mirrored"),
        Way("nnU-Net 2-D", "nnunet"),
        Way("the paper's authors: their network, full width", "authors"),
        Way("anomalib's PaDiM, ResNet-18", "padim", 3),
        Way("lesionsplit, `export --no-mirror`", "no mirror", 3),
        Way("lesionsplit", "default", 3),
    ],
    "training": [
        Way(
            "the paper's authors: their step, full width, 40 epochs of covid-cell", "authors step", whole=40 * 2 * 1349
        ),
        Way("anomalib's PaDiM: features and Gaussians of 1349 normal slices", "padim fit", 3, whole=1349),
        Way("lesionsplit, a teacher (`diffusion`), 2000 steps; there are two", "step diffusion", whole=2000 * 16),
        Way("lesionsplit, the student (`distilled`), 2000 steps", "step distilled", whole=2000 * 16),
    ],
}
"""What is measured; ours last."""


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--volume", type=Path, help="a chest CT instead of the phantom: its files or their folder")
    options.add_argument("--slices", type=int, default=16, help="of the slow ways; quick ones get three times as many")
    options.add_argument("--rounds", type=int, default=2, help="how often each way is measured, in turns")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--stated", type=int, default=100, help="slices with lung of the CT whose time is stated")
    options.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options.add_argument("--way", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.way == "prepare":
        prepare(given.volume, given.slices, given.folder)
    elif given.way is not None:
        job = WORK[given.way](given.folder, given.slices, given.threads)
        found = measured(job.work, job.slices, warmup_steps="step" in given.way)
        print(json.dumps({**found, "slices": job.slices, "once": job.once}))
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(given, Path(folder))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """In the parent, which imports next to nothing: measure the ways in turns, and print tables."""
    command = [sys.executable, "-m", "benchmarks.peers", "--threads", given.threads, "--folder", folder]
    volume = ["--volume", given.volume.resolve()] if given.volume else []
    run([*command, "--slices", given.slices, "--way", "prepare", *volume])

    def once(way: Way) -> dict[str, Any]:
        print(way.name, file=sys.stderr)
        ran = run(
            [*command, "--slices", given.slices * way.times, "--way", way.key],
            env={**os.environ, **environment(given.threads)},
        )
        found: dict[str, Any] = json.loads(ran.output.splitlines()[-1])
        each = found["cpu_seconds_a_slice"]
        return {**found, "slices_per_second": 1 / each, "start": ran.cpu_seconds - found["slices"] * each}

    for group in given.only:
        ways = {way.name: way for way in GROUPS[group]}
        found = in_turns(list(ways), given.rounds, lambda name, _, ways=ways: once(ways[name]))
        print("\n".join(table(group, found, given.stated)), end="\n\n", flush=True)


def table(group: str, found: dict[str, Any], stated: int) -> list[str]:
    """The rows of a group, as Markdown."""
    training = group == "training"
    head = "a whole training" if training else f"a CT with {stated} slices of lung, start to end"
    lines = [f"| {group} | {head} | slices a second | peak MiB |{'' if training else ' times ours |'}"]
    lines.append("|---" * (4 if training else 5) + "|")
    for way in GROUPS[group]:
        one = found["ways"][way.name]
        speed = one["slices_per_second"]
        seconds = one["once"] + way.whole / speed if training else one["start"] + stated / speed
        cells = [way.name, duration(seconds), f"{speed:.3g}", f"{one['peak_mib']:.0f}"]
        if not training:
            cells.append(f"{found['ratios'][way.name]['median']:.2g}" if way.name in found["ratios"] else "1")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is read best."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def prepare(volume: Path | None, count: int, folder: Path) -> None:
    """Lung-masked slices, from the middle of the volume or of the phantom, and weights that predict in one pass."""
    import numpy as np

    from lesionsplit.models.card import digest
    from lesionsplit.models.export import export
    from lesionsplit.models.model import Model

    np.save(folder / "slices.npy", np.stack((of_phantom if volume is None else partial(of_volume, volume))(count)))
    export(Model.load(), digest(), folder / "fast.onnx", mirror=False)


def of_phantom(count: int) -> list[Any]:
    """Slices of as many persons as it takes."""
    from lesionsplit.phantom.dataset import PhantomSettings, draw_series

    found: list[Any] = []
    while len(found) < count:
        found += [one.image for one in draw_series("lesion", len(found), PhantomSettings(size=SIZE))]
    return found[:count]


def of_volume(path: Path, count: int) -> list[Any]:
    """The slices nearest to the one with the most lung."""
    import numpy as np

    from lesionsplit.inference.hu_window import HU_WINDOW
    from lesionsplit.io.cases import find_cases
    from lesionsplit.lungs.find import find_lungs
    from lesionsplit.volumes.scratch import Scratch

    with Scratch() as scratch:
        volume = find_cases([path], recursive=True).cases[0].read(scratch)
        lungs = volume.axial(find_lungs(volume, scratch).labels) > 0
        middle = int(lungs.sum(axis=(1, 2)).argmax())
        nearest = sorted(range(len(lungs)), key=lambda at: abs(at - middle))[:count]
        images = volume.axial(volume.array)
        return [np.where(lungs[at], HU_WINDOW.to_grey(images[at]), 0).astype(np.uint16) for at in sorted(nearest)]


def read(folder: Path, count: int) -> list[Any]:
    """So many slices, (512, 512), grey; those there are, over and over."""
    import numpy as np

    stored = np.load(folder / "slices.npy")
    return [stored[number % len(stored)] for number in range(count)]


def ours(folder: Path, count: int, threads: int, *, weights: str | None = None) -> Job:
    """Prediction as `lesionsplit predict` does it."""
    from lesionsplit import cores
    from lesionsplit.data.lung_slice import LungSlice
    from lesionsplit.inference.predictor import SlicePredictor
    from lesionsplit.memory import keep_freed_memory

    cores.use(threads)
    keep_freed_memory()
    predictor = SlicePredictor.load(None if weights is None else folder / weights, device="cpu", engine="onnx")

    def work() -> None:
        for _ in predictor.predict_stream(LungSlice(grey, grey > 0) for grey in read(folder, count)):
            pass

    return Job(work, count)


def our_lungs(folder: Path, count: int, threads: int) -> Job:
    """The lung network on its grid, and back to the slices; the check and the refined edge are left out."""
    import numpy as np
    from PIL import Image

    from lesionsplit import cores
    from lesionsplit.lungs.network import default_network
    from lesionsplit.lungs.resample import SIDE as GRID

    cores.use(threads)

    def resize(image: Any, side: int) -> Any:
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))

    def work() -> None:
        shrunk = [resize(grey.astype(np.float32) / np.iinfo(grey.dtype).max, GRID) for grey in read(folder, count)]
        for share in default_network("cpu").shares(1000 * np.stack(shrunk)):
            _ = resize(share, SIZE) > 0.5

    return Job(work, count)


def in_batches(predict: Callable[[Any], Any], folder: Path, count: int, *, side: int, batch: int) -> Job:
    """A network of another tool: slices resized to its side, predicted in batches, and the maps resized back."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    def work() -> None:
        slices = read(folder, count)
        for at in range(0, count, batch):
            grey = np.stack(slices[at : at + batch])
            images = torch.from_numpy(grey.astype(np.float32) / np.iinfo(grey.dtype).max)[:, None]
            with torch.inference_mode():
                found = predict(images if side == SIZE else F.interpolate(images, (side, side), mode="bilinear"))
                _ = found if side == SIZE else F.interpolate(found, (SIZE, SIZE), mode="bilinear")

    return Job(work, count)


def theirs(name: str, folder: Path, count: int, threads: int) -> Job:
    """A network of another tool that is trained already."""
    import torch

    from benchmarks import peer_networks as peers

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if name == "padim":
        padim = peers.Padim().eval()
        padim.fit(torch.randn(128, len(padim.chosen), SIDE // 4, SIDE // 4))
        return in_batches(padim.score, folder, count, side=SIDE, batch=8)
    if name == "authors":
        authors = peers.AuthorsNetwork().eval()
        return in_batches(lambda images: (images - authors(images)[0]).abs(), folder, count, side=SIDE, batch=8)
    if name == "lungmask":
        lungs = peers.lungmask_network().eval()
        return in_batches(lambda images: lungs(images).softmax(1), folder, count, side=SIDE, batch=8)
    nnunet = peers.nnunet_network().eval()
    predict = partial(peers.with_mirrors, nnunet) if name == "nnunet mirrored" else nnunet
    return in_batches(lambda images: predict(images).softmax(1), folder, count, side=SIZE, batch=1)


def fit_padim(folder: Path, count: int, threads: int) -> Job:
    """Features of the slices; and once, the Gaussians, of as many as fit in little memory."""
    import torch

    from benchmarks import peer_networks as peers

    torch.set_num_threads(threads)
    padim = peers.Padim().eval()
    start = time.process_time()
    padim.fit(torch.randn(128, len(padim.chosen), SIDE // 4, SIDE // 4))
    once = time.process_time() - start

    def learn(images: Any) -> Any:
        padim.features(images)
        return images

    return in_batches(learn, folder, count, side=SIDE, batch=8)._replace(once=once)


def authors_step(_folder: Path, _count: int, threads: int) -> Job:
    """A step of the authors' code on a few slices of each label."""
    import torch

    from benchmarks import peer_networks as peers

    torch.set_num_threads(threads)
    trainer = peers.AuthorsTrainer(peers.AuthorsNetwork(), peers.AuthorsCritic())
    normal, lesion = (torch.rand(PAIRS, 1, SIDE, SIDE) - 0.5 for _ in range(2))
    return Job(lambda: trainer.step(normal, lesion), 2 * PAIRS)


def our_step(name: str, folder: Path, _count: int, threads: int) -> Job:
    """Steps of our training, as `benchmarks.steps` does them."""
    import torch

    from benchmarks import steps
    from lesionsplit import cores
    from lesionsplit.memory import keep_freed_memory

    cores.use(threads)
    torch.set_num_threads(threads)
    keep_freed_memory()
    settings = steps.settings_for(name, small=False)
    step = steps.Step(settings, steps.phantom(folder / "phantom"))
    return Job(lambda: [step() for _ in range(3)], 3 * step.slices)


WORK: dict[str, Callable[[Path, int, int], Job]] = {
    "lungs": our_lungs,
    "default": ours,
    "no mirror": partial(ours, weights="fast.onnx"),
    "padim fit": fit_padim,
    "authors step": authors_step,
    "step diffusion": partial(our_step, "diffusion"),
    "step distilled": partial(our_step, "distilled"),
    **{name: partial(theirs, name) for name in ("lungmask", "nnunet mirrored", "nnunet", "authors", "padim")},
}
"""Of each way: what is done, and of how many slices."""


if __name__ == "__main__":
    main()
