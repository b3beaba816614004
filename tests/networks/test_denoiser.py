from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lesionsplit.errors import SettingsError
from lesionsplit.networks.denoiser import (
    Condition,
    Denoiser,
    DenoiserSettings,
    clean_and_noise,
    coloured,
    noised,
    strengths,
    waves,
)

SETTINGS = DenoiserSettings(channels=(8, 12), embedding=8)


def network(settings: DenoiserSettings = SETTINGS) -> Denoiser:
    """One that says something: the head of a fresh network is silent."""
    torch.manual_seed(0)
    made = Denoiser(settings)
    torch.nn.init.normal_(made.head.weight, std=0.1)
    return made.eval()


def asked(count: int, condition: Condition = Condition.NORMAL) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    lungs = torch.zeros(count, 1, 16, 24)
    lungs[..., 4:20] = 1
    return {
        "noisy": torch.randn(count, 1, 16, 24, generator=generator),
        "lungs": lungs,
        "level": torch.linspace(0.2, 0.8, count),
        "condition": torch.full((count,), int(condition)),
    }


# The schedule


def test_the_ends_of_the_schedule() -> None:
    signal, sigma = strengths(torch.tensor([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(signal.square(), [1, 0.5, 0], atol=1e-7)  # alpha-bar
    np.testing.assert_allclose(sigma.square(), [0, 0.5, 1], atol=1e-7)
    level = torch.linspace(0, 1, 11)
    torch.testing.assert_close(sum(part.square() for part in strengths(level)), torch.ones(11))


def test_a_noised_slice_has_mean_and_variance_of_the_closed_form() -> None:
    """At a third of the way alpha-bar is cos(30 degrees)**2 = 3/4: q is N(sqrt(3/4) x_0, 1/4)."""
    samples = noised(torch.tensor(2.0), torch.randn(200_000, generator=torch.Generator().manual_seed(0)), 1 / 3)
    assert samples.mean().item() == pytest.approx(2 * math.sqrt(0.75), abs=0.005)
    assert samples.var().item() == pytest.approx(0.25, rel=0.02)


def test_v_takes_slice_and_noise_apart() -> None:
    clean, noise, level = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([0.1, 0.5, 0.9])
    level = level.view(3, 1, 1, 1)
    signal, sigma = torch.cos(level * math.pi / 2), torch.sin(level * math.pi / 2)
    parts = clean_and_noise(noised(clean, noise, level), signal * noise - sigma * clean, level)
    torch.testing.assert_close(parts.clean, clean)
    torch.testing.assert_close(parts.noise, noise)


# The noise


def test_white_noise_stays_as_it_is() -> None:
    white = torch.randn(2, 1, 8, 8)
    assert coloured(white, 0.0) is white


def test_coloured_noise_has_variance_one_and_falls_with_frequency() -> None:
    white = torch.randn(4000, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = coloured(white, 1.0)
    assert noise.var().item() == pytest.approx(1, rel=0.02)
    power = np.square(np.abs(np.fft.fft2(noise.numpy()))).mean(axis=(0, 1))
    assert power[0, 1] / power[0, 4] == pytest.approx(16, rel=0.1)  # amplitude 1 / f: a quarter, power a sixteenth
    assert power[0, 1] / power[2, 0] == pytest.approx(4, rel=0.1)
    assert power[0, 0] / power[0, 1] == pytest.approx(1, rel=0.1)


# The network


def test_a_fresh_network_predicts_nothing() -> None:
    assert (Denoiser(SETTINGS)(**asked(2)) == 0).all()


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_it_answers_in_the_size_of_what_it_is_shown(patch: int) -> None:
    made = network(DenoiserSettings(channels=(8, 12), embedding=8, patch=patch))  # type: ignore[arg-type]
    assert made(**asked(3)).shape == (3, 1, 16, 24)
    assert made.stride == 2 * patch


def test_parameters_by_hand() -> None:
    """Two levels of 2 and 3 features, an embedding of 4 numbers, patches of 2 x 2: 8 values in, 4 out."""
    modulation = 2 * (4 * 4 + 4) + 3 * 4

    def block(inputs: int, outputs: int, shortcut: int) -> int:
        norms = 2 * inputs + 2 * outputs
        return (
            norms
            + (inputs * outputs * 9 + outputs)
            + (outputs**2 * 9 + outputs)
            + (4 * 2 * outputs + 2 * outputs)
            + shortcut
        )

    ways = (8 * 2 * 9 + 2) + (2 * 3 * 4 + 3) + (3 * 2 * 4 + 2) + 2 * 2 + (2 * 4 * 9 + 4)
    expected = modulation + ways + block(2, 2, 0) + block(3, 3, 0) + block(4, 2, 4 * 2 + 2)
    made = Denoiser(DenoiserSettings(channels=(2, 3), embedding=4))
    assert sum(parameter.numel() for parameter in made.parameters()) == expected


def test_a_slice_is_read_on_its_own() -> None:
    made, given = network(), asked(3)
    alone = made(**{name: values[1:2] for name, values in given.items()})
    torch.testing.assert_close(made(**given)[1:2], alone, rtol=1e-5, atol=1e-6)


def test_what_lies_outside_the_lungs_is_not_looked_at() -> None:
    made, given = network(), asked(2)
    other = {**given, "noisy": torch.where(given["lungs"] > 0, given["noisy"], 7.0)}
    assert torch.equal(made(**given), made(**other))


def test_it_is_told_the_level_and_the_condition() -> None:
    made, given = network(), asked(1)
    answers = [made(**asked(1, condition)) for condition in range(made.condition.num_embeddings)]
    answers.append(made(**{**given, "level": torch.tensor([0.9])}))
    for place, one in enumerate(answers):
        assert all((one - other).abs().max() > 1e-3 for other in answers[place + 1 :])


def test_waves_by_hand() -> None:
    """Four numbers: the sine and cosine of the level itself and of a thousand times it."""
    found = waves(torch.tensor([0.0, 0.5]), 4)
    expected = [[0, 0, 1, 1], [np.sin(0.5), np.sin(500), np.cos(0.5), np.cos(500)]]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    line = (
        "placement: the network's input is 18 x 24 pixels; with 2 levels and a patch of 2 "
        "both sides must be multiples of 4"
    )
    given = asked(1)
    with pytest.raises(SettingsError) as error:
        network()(torch.zeros(1, 1, 18, 24), torch.ones(1, 1, 18, 24), given["level"], given["condition"])
    assert str(error.value) == line
