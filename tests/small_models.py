"""Networks that several tests watch, and how they are left."""

import pytest
from torch import nn


class Model(nn.Module):
    """Submodules by keyword, and a forward that is given as a function of (self, *inputs)."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.run_forward = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.run_forward(self, *inputs)


def vision_transformer():
    """Of grey images of 8 x 8 pixels and 3 classes."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=16, num_labels=3,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def assert_no_hooks(model):
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
