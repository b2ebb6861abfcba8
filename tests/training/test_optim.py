"""What trains, what decays, and how fast."""

import numpy as np
import pytest
import timm
import torch

from dfdlib import DfdError, create_detector
from dfdlib.models.backbones import stage_of
from dfdlib.training.optim import freeze_stages, learning_rate_at, parameter_groups, train_mode
from dfdlib.training.settings import TrainConfig


def network(backbone="resnet10t", **switches):
    return create_detector(backbone, 32, pretrained="none", **switches).network


def test_weight_decay_spares_biases_and_norms():
    groups = {group["weight_decay"]: group["params"] for group in parameter_groups(network(), 0.1)}
    assert all(parameter.ndim > 1 for parameter in groups[0.1])
    assert all(parameter.ndim == 1 for parameter in groups[0.0])


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_the_learning_rate_rises_then_falls(schedule):
    config = TrainConfig(schedule=schedule, learning_rate=1e-2, warmup_fraction=0.2)
    rates = [learning_rate_at(progress, config) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1e-2)
    assert int(np.argmax(rates)) == 20
    assert rates[0] < 1e-3
    assert rates[-1] < 2e-4
    assert all(np.diff(rates[:21]) >= 0)
    assert all(np.diff(rates[20:]) <= 0)


def test_a_plateau_halves_the_learning_rate():
    config = TrainConfig(schedule="plateau", learning_rate=1e-2)
    assert [learning_rate_at(0.5, config, n) for n in (0, 1, 3)] == pytest.approx([1e-2, 5e-3, 1.25e-3])
    assert learning_rate_at(0.5, TrainConfig(schedule="constant", learning_rate=1e-2), 3) == 1e-2


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenetv2_100", "vit_tiny_patch16_224"])
def test_stages_cover_the_backbone_in_order(name):
    backbone = timm.create_model(name, num_classes=0)
    stage = stage_of(backbone)
    assert list(stage) == [parameter for parameter, _ in backbone.named_parameters()]
    numbers = list(stage.values())
    assert numbers[0] == 0
    assert numbers == sorted(numbers)
    assert max(numbers) in (len(backbone.feature_info) - 1, len(backbone.feature_info))


def test_stages_of_resnet_are_its_layers():
    stage = stage_of(timm.create_model("resnet18", num_classes=0))
    assert stage["conv1.weight"] == stage["bn1.weight"] == 0
    assert [stage[f"layer{i}.0.conv1.weight"] for i in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_freezing_holds_weights_and_statistics_of_the_first_stages():
    frozen = network("resnet18")
    freeze_stages(frozen, 2)
    open_names = {name.split(".")[1] for name, p in frozen.named_parameters() if p.requires_grad}
    assert open_names == {"layer2", "layer3", "layer4", "fake"}
    train_mode(frozen)
    before = {name: tensor.clone() for name, tensor in frozen.named_buffers()}
    frozen(torch.rand(4, 3, 32, 32))
    moved = {
        name.split(".")[1]
        for name, tensor in frozen.named_buffers()
        if name.endswith("running_mean") and not torch.equal(tensor, before[name])
    }
    assert moved == {"layer2", "layer3", "layer4"}


def test_freezing_everything_leaves_the_head():
    frozen = network("resnet18")
    freeze_stages(frozen, -1)
    assert [name for name, p in frozen.named_parameters() if p.requires_grad] == [
        "heads.fake.weight",
        "heads.fake.bias",
    ]


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "convnext_atto", "resnet10t"])
def test_only_normalisation_layers_and_heads_are_left_to_train(backbone):
    net = network(backbone)
    freeze_stages(net, "norm")
    trained = {name.rpartition(".")[0] for name, weight in net.named_parameters() if weight.requires_grad}
    kinds = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    assert trained == {name for name, module in net.named_modules() if isinstance(module, kinds)} | {
        "heads.fake"
    }


def test_freezing_more_than_there_is_is_refused():
    bare = torch.nn.Module()
    bare.backbone = torch.nn.Linear(1, 1)
    with pytest.raises(DfdError, match="no normalisation layers"):
        freeze_stages(bare, "norm")
    with pytest.raises(DfdError, match="`freeze` is 9, and this backbone has 5 stages"):
        freeze_stages(network("resnet18"), 9)
    with pytest.raises(DfdError, match="Linear has no backbone to freeze"):
        freeze_stages(torch.nn.Linear(1, 1), 1)


def test_lower_stages_learn_more_slowly():
    net = network("resnet18")
    scale = {id(p): group["lr_scale"] for group in parameter_groups(net, 0.0, 0.5) for p in group["params"]}
    assert len(scale) == len(list(net.parameters()))
    assert scale[id(net.heads.fake.weight)] == 1
    assert scale[id(net.backbone.layer4[0].conv1.weight)] == 0.5
    assert scale[id(net.backbone.conv1.weight)] == 0.5**5
