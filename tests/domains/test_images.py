"""Images of anything: what the methods are told of them."""

import pytest
import torch

from lesionsplit.data.kind import FLOOR, ImageKind
from lesionsplit.data.sampling import Batch, TeacherOutputs
from lesionsplit.domains.defects import DefectSettings, _places, add_defects
from lesionsplit.domains.images import ImageDomain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.domains.table import domain_of
from lesionsplit.errors import SettingsError
from lesionsplit.methods.table import AnyMethod
from lesionsplit.settings import to_table
from lesionsplit.training.run import RunSettings, read_config, settings_of


def images(channels: int, count: int = 2) -> torch.Tensor:
    torch.manual_seed(0)
    made = (0.3 * torch.randn(count, channels, 32, 32)).clip(FLOOR, 1)
    made[:, :, :, 28:] = -1  # outside
    return made


def test_each_kind_has_its_domain() -> None:
    assert domain_of(ImageKind()) is LUNGS
    assert domain_of(ImageKind(region="mask", channels=3)) == ImageDomain(3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_region_is_what_is_not_outside(channels: int) -> None:
    region = ImageDomain(channels).region(images(channels))
    assert region.shape == (2, 1, 32, 32)
    assert (region[..., :28] == 1).all()
    assert (region[..., 28:] == 0).all()


def test_a_lesion_may_be_darker_in_images_and_not_in_lungs() -> None:
    change = torch.tensor([-0.5, 0.25]).view(1, 1, 1, 2)
    assert ImageDomain().size(ImageDomain().lesion_part(change)).flatten().tolist() == [0.5, 0.25]
    assert LUNGS.size(LUNGS.lesion_part(change)).flatten().tolist() == [0.0, 0.25]


@pytest.mark.parametrize("channels", [1, 3])
def test_defects_change_their_extent_and_nothing_outside(channels: int) -> None:
    normal = images(channels, 8)
    region = ImageDomain(channels).region(normal)
    drawn = add_defects(normal, region, normal, DefectSettings(image_fraction=1.0, radius=5.0))
    changed = (drawn.images - normal).abs().amax(dim=1, keepdim=True)
    assert drawn.extent.sum() > 50
    assert (changed[region == 0] == 0).all()
    assert (changed[drawn.extent > 0] > 0).float().mean() > 0.9
    assert drawn.images[:, :, :, :28].min() >= FLOOR
    assert torch.equal(drawn.healthy, normal)
    none = add_defects(normal, region, normal, DefectSettings(image_fraction=0.0))
    assert torch.equal(none.images, normal)
    assert not none.extent.any()


SMALL = {
    "decomposition": {"network": {"channels": [4, 8]}, "critic": {"channels": [4, 4, 4, 4]}},
    "separation": {"network": {"channels": [4, 8]}, "pretraining": {"steps": 1}},
    "synthesis": {"network": {"channels": [4, 8]}},
    "cam": {"network": {"width": 4}},
    "grad-cam": {"network": {"width": 4}},
    "va-gan": {"network": {"channels": [4, 8]}, "critic": {"channels": [4, 4, 4, 4]}},
    "bl": {
        "network": {"channels": [4, 8]},
        "critic": {"channels": [4, 4, 4, 4]},
        "classifier": {"network": {"width": 4}},
        "optimisation": {"classifier_warmup_steps": 1},
    },
    "diffusion": {"network": {"channels": [4, 8]}},
    "distilled": {"network": {"channels": [4, 8]}},
    "supervised": {"network": {"channels": [4, 8]}, "annotator": "a"},
}


def method_of(name: str) -> AnyMethod:
    table = {"method": {"name": name, **SMALL[name]}, "placement": {"rows": 32, "columns": 32}}
    return settings_of(table, {"training": {"steps": 10}}, source=name).method


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_every_method_trains_and_infers_on_images(name: str, channels: int) -> None:
    from lightning_fabric import Fabric

    domain, settings = ImageDomain(channels), method_of(name)
    method = settings.build(domain)
    fabric = Fabric(accelerator="cpu", devices=1)
    method.setup(fabric)
    outlined = torch.zeros(2, 1, 32, 32) if name == "supervised" else None
    outputs = TeacherOutputs(torch.rand(2, 1, 32, 32), images(channels)) if name == "distilled" else None
    batch = Batch(images(channels), images(channels).flip(2), outlined, outputs)
    for number in range(2):  # separation and bl have two stages
        terms = method.step(batch, number)
        assert all(torch.isfinite(term).all() for term in terms.values())
    network = settings.build_network(domain).eval()
    output = settings.infer(network, batch.images, domain)
    assert output.score.shape == (4, 1, 32, 32)
    assert output.healthy.shape == (4, channels, 32, 32)
    assert 0 <= output.score.min() <= output.score.max() <= 1


def test_synthesis_learns_from_normals_alone() -> None:
    from lightning_fabric import Fabric

    settings = method_of("synthesis")
    assert settings.learns_from_normals
    method = settings.build(ImageDomain())
    method.setup(Fabric(accelerator="cpu", devices=1))
    terms = method.step(Batch(images(1), images(1)[:0]), 9999)
    assert "own" not in terms
    assert not method_of("diffusion").learns_from_normals  # its score needs the label lesion


def test_a_network_learns_from_its_own_predictions_where_they_are_settled() -> None:
    predicted = torch.tensor([[-4.0, -3.0, -2.0, -1.0], [-4.0, 1.0, 3.0, 8.0]]).view(1, 1, 2, 4)
    assert ImageDomain().settled(predicted).flatten().tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
    assert ImageDomain().settled(predicted - 9).flatten().tolist() == [1, 1, 1, 0, 1, 0, 0, 0]
    assert LUNGS.settled(predicted).all()


def test_defects_are_drawn_on_objects_as_often_as_anywhere() -> None:
    images = torch.full((1, 3, 64, 64), -0.5)
    images[..., 24:40, 24:40] = 0.7
    region = torch.ones(1, 1, 64, 64)
    places = _places(images, region)
    inside = torch.zeros_like(region)
    inside[..., 18:46, 18:46] = 1
    assert ((places * inside).sum() / places.sum()).item() == pytest.approx(0.5 + 0.5 * 28**2 / 64**2, abs=0.02)
    assert torch.equal(_places(torch.full_like(images, 0.3), region), region)


def test_steps_scale_every_stage() -> None:
    quick = read_config("quick", steps=40)
    assert (quick.training.steps, quick.method.self_training.start_step) == (40, 30)  # type: ignore[union-attr]
    default = read_config("distilled", steps=20)
    assert default.method.distillation is not None
    assert default.method.distillation.teacher_steps_factor == 0.01
    assert read_config("separation", steps=90).method.preparation_steps < 90
    own = read_config("quick", ["method.self_training.start_step=7"], steps=40)
    assert own.method.self_training.start_step == 7  # type: ignore[union-attr]


def test_a_region_that_is_not_lungs_has_a_square_canvas() -> None:
    whole = read_config("distilled", region="whole")
    assert (whole.region, whole.placement.kind, whole.placement.canvas) == ("whole", "frame", (160, 160))
    assert whole.placement.margin == 8
    assert whole.method.healing is None  # type: ignore[union-attr]
    assert read_config("distilled", region="mask").placement.canvas == (144, 144)
    assert read_config("distilled").placement.canvas == (128, 176)
    own = read_config("distilled", ["placement.rows=64", "placement.columns=96"], region="whole")
    assert own.placement.canvas == (64, 96)
    with pytest.raises(SettingsError, match="region"):
        settings_of(to_table(RunSettings()), {"region": "liver"}, source="x")
    with pytest.raises(SettingsError, match=r"method\.healing: is for lungs, and the region is whole; leave"):
        read_config("distilled", ["method.healing.floor=1.0"], region="whole")
