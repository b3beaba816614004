"""The suite's yardsticks do the same as we do, and its sums are right."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
TINY = {"device": "cpu", "threads": 1, "channels": [4, 6, 8, 8, 8], "frame": 128, "canvas": [64, 96], "steps": 2}


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of the suite."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_the_textbook_network_is_ours(part: Callable[[str], ModuleType]) -> None:
    training, book = part("training"), part("textbook")
    settings = training.settings_of(TINY).method
    torch.manual_seed(0)
    ours = settings.build()
    network, critic = book.Network(settings.network.channels), book.Critic(settings.critic.channels)
    book.same_weights(network, ours.network)
    book.same_weights(critic, ours.critic)
    images = torch.rand(3, 1, 64, 96) - 0.5
    for theirs, found in zip(network(images), ours.network(images), strict=True):
        torch.testing.assert_close(theirs, found)
    torch.testing.assert_close(critic(images), ours.critic(images))


def test_a_step_of_the_textbook_on_our_cut_has_our_losses(part: Callable[[str], ModuleType]) -> None:
    training = part("training")
    losses = {}
    for way in ("textbook, cut", "lesionsplit"):
        task = training.step(way, TINY)
        torch.manual_seed(0)
        task.run()
        losses[way] = task.facts()["losses"]
    assert len(losses["lesionsplit"]) == 2
    assert losses["lesionsplit"] == pytest.approx(losses["textbook, cut"], rel=1e-4)


def test_prediction_of_the_textbook_on_our_cut_is_ours(part: Callable[[str], ModuleType]) -> None:
    apart = part("prediction").difference("textbook, cut", TINY)
    assert apart["largest"] < 1e-5
    assert apart["within 1e-3"] == 1
    assert part("prediction").difference("textbook", TINY)["largest"] > 1e-5  # whole frames are not the same


def test_scikit_learn_finds_the_same_average_precision(part: Callable[[str], ModuleType], phantom_folder: Path) -> None:
    found = {}
    for way in ("textbook", "lesionsplit"):
        task = part("scoring").evaluation(way, {"data": str(phantom_folder), "slices": 40})
        task.run()
        found[way] = task.facts()["average precision"]
    assert set(found["lesionsplit"]) == {"a", "b", "b_revised"}
    assert found["lesionsplit"] == pytest.approx(found["textbook"], abs=1e-12)


def test_work_is_counted_through_second_derivatives(part: Callable[[str], ModuleType]) -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    image = torch.rand(2, 3, 8, 8)
    macs, weights = 2 * 8 * 8 * 5 * 3 * 9, 5 * 3 * 9 * 4
    with torch.no_grad():
        work = part("floors").count(lambda: convolution(image), [convolution], 100)
    assert work == (macs, 100 + weights)

    def penalty() -> None:
        given = image.clone().requires_grad_()
        (slope,) = torch.autograd.grad(convolution(given).square().sum(), given, create_graph=True)
        slope.square().sum().backward()

    work = part("floors").count(penalty, [convolution], 0, trains=True)
    assert work.macs >= 4 * macs
    assert work.bytes > 8 * weights


def test_every_way_is_measured_in_turns(part: Callable[[str], ModuleType]) -> None:
    order = []
    speeds = {"theirs": iter([1.0, 2.0, 4.0]), "ours": iter([5.0, 6.0, 40.0])}

    def measure(way: str, number: int) -> dict[str, Any]:
        order.append((way, number))
        return {"slices_per_second": next(speeds[way]), "peak_mib": 10.0 * number, "facts": number}

    found = part("rounds").in_turns(("theirs", "ours"), 3, measure)
    assert order == [("theirs", 0), ("ours", 0), ("ours", 1), ("theirs", 1), ("theirs", 2), ("ours", 2)]
    assert found["ways"]["theirs"] == {"slices_per_second": 2.0, "peak_mib": 10.0, "facts": 0}
    assert found["ratios"] == {"theirs": {"median": 5.0, "lowest": 3.0, "highest": 10.0}}


def test_one_command_has_every_row_that_a_gpu_can_do(part: Callable[[str], ModuleType]) -> None:
    suite = part("suite")

    def groups(device: str, volume: Path | None) -> set[str]:
        return {row.group for row in suite.rows(suite.Plan(device, 1, 3, False, False, volume))}

    assert groups("cuda", Path("ct")) == {"step", "epoch", "predict", "volume", "wide"}
    assert groups("cpu", None) == {"step", "epoch", "predict", "difference", "evaluate", "start"}


def test_a_command_is_measured(part: Callable[[str], ModuleType]) -> None:
    holding = "held = bytearray(900 << 20); held[::4096] = held[::4096]; print(1)"
    ran = part("rounds").run([sys.executable, "-c", holding])
    assert ran.output == "1\n"
    assert ran.peak_mib > 900
    with pytest.raises(subprocess.CalledProcessError):
        part("rounds").run([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_table_says_what_was_measured(part: Callable[[str], ModuleType]) -> None:
    table = part("table")
    ours = {"slices_per_second": 20.0, "peak_mib": 512.4, "work": {"macs": 2e9, "bytes": 1e8}}
    row = {
        "group": "step",
        "name": "8 to 128 channels",
        "ways": {"textbook": {"slices_per_second": 4.0, "peak_mib": 2000.0}, "lesionsplit": ours},
        "ratios": {"textbook": {"median": 5.0, "lowest": 4.5, "highest": 6.25}},
    }
    names = ("processor", "threads", "device", "python", "torch", "numpy", "lesionsplit", "date", "rounds")
    machine = {name: f"the {name}" for name in names}
    text = table.markdown(
        {"machine": machine, "rates": {"macs": 1e11, "bytes": 1e10}, "rows": [row], "gpu": "not measured: no GPU"}
    )
    cells = [cell.strip() for cell in text.splitlines()[4].strip("|").split("|")]
    assert cells[:6] == ["8 to 128 channels", "4.00", "", "20.00", "5.00 (4.50 to 6.25)", ""]
    assert cells[6:] == ["2000, -, 512", "50.0 ms", "20.0 ms, 40%", "10.0 ms, 20%"]
    assert all(f"the {name}" in text for name in names)
    assert text.endswith("GPU: not measured: no GPU.")


def test_the_table_goes_between_the_marks_of_a_document(part: Callable[[str], ModuleType]) -> None:
    table = part("table")
    document = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.put_between(document, "new")
    assert once == f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
    assert table.put_between(once, "new") == once
    with pytest.raises(ValueError, match="no marks in the document"):
        table.put_between("before", "new")
    assert table.BEGIN in (ROOT / "docs/performance.md").read_text()
