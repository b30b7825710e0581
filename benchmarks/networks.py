"""The networks, in plain torch: another environment, with another library, makes them too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)

Shape = tuple[int, ...]


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; every ReLU is a module of its own.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the first convolution, and of the shortcut's 1x1 convolution where there is one.
    """

    widening = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block of ``(batch, channel, y, x)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 beside a shortcut, four times as wide at its end.

    Args:
        inputs: Channels that come in.
        width: Channels of the 3x3 convolution.
        stride: Of the 3x3 convolution, and of the shortcut's where there is one.
    """

    widening = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.widening * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu3 = nn.ReLU()
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block of ``(batch, channel, y, x)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        return self.relu3(self.bn3(self.conv3(y)) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A residual network with its 7x7 stem (He et al. 2016, table 1).

    Args:
        block: The kind of its blocks.
        depths: Blocks of each of the four widths.
        channels: Of the images.
        classes: Outputs.
    """

    def __init__(
        self,
        block: type[Block] | type[Bottleneck],
        depths: Sequence[int],
        channels: int = 3,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential()
        before = WIDTHS[0]
        for width, depth in zip(WIDTHS, depths, strict=True):
            for number in range(depth):
                stride = 2 if number == 0 and width != WIDTHS[0] else 1
                self.blocks.append(block(before, width, stride))
                before = block.widening * width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(batch, class)`` of images ``(batch, channel, y, x)``."""
        return self.fc(self.pool(self.blocks(self.stem(x))).flatten(1))


class ResNet18(ResNet):
    """The residual network of 18 layers.

    Args:
        channels: Of the images.
        classes: Outputs.
    """

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__(Block, (2, 2, 2, 2), channels, classes)


class ResNet50(ResNet):
    """The residual network of 50 layers.

    Args:
        channels: Of the images.
        classes: Outputs.
    """

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__(Bottleneck, (3, 4, 6, 3), channels, classes)


class VisionTransformer(nn.Module):
    """A vision transformer of ``transformers`` that takes images and gives scores.

    Args:
        size: Of the images, which are square.
        options: Of ``transformers.ViTConfig``; without any it is ViT-B/16.
    """

    def __init__(self, size: int, **options: int) -> None:
        super().__init__()
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(image_size=size, num_labels=1000, **options)
        self.vit = ViTForImageClassification(config)

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(batch, class)`` of images ``(batch, channel, y, x)``."""
        return self.vit(pixel_values=x).logits


def simple_conv(shape: Shape, filters: int = 32) -> nn.Module:
    """The SimpleConv of the paper (Quiroga 2020, figure 12), as `tmeasures.demo` has it."""
    channels, height, width = shape
    f = filters
    last = 4 * f * (height // 4) * (width // 4)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, f, 3, padding=1),
            elu1=nn.ELU(),
            conv2=nn.Conv2d(f, f, 3, padding=1),
            elu2=nn.ELU(),
            pool1=nn.MaxPool2d(2),
            conv3=nn.Conv2d(f, 2 * f, 3, padding=1),
            elu3=nn.ELU(),
            conv4=nn.Conv2d(2 * f, 2 * f, 3, padding=1),
            elu4=nn.ELU(),
            pool2=nn.MaxPool2d(2),
            conv5=nn.Conv2d(2 * f, 4 * f, 3, padding=1),
            elu5=nn.ELU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(last, 4 * f),
            elu6=nn.ELU(),
            fc2=nn.Linear(4 * f, 10),
            log_softmax=nn.LogSoftmax(1),
        )
    )


def simple_conv_4(shape: Shape) -> nn.Module:
    """SimpleConv with 4 first filters."""
    return simple_conv(shape, filters=4)


def small(shape: Shape) -> nn.Module:
    """Two convolutions and a linear layer, 3,500 activations of a 28x28 image."""
    channels, height, width = shape
    side = [((size - 5) // 2 + 1 - 3) // 2 + 1 for size in (height, width)]
    return nn.Sequential(
        nn.Conv2d(channels, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * side[0] * side[1], 10),
    )


def resnet18(shape: Shape) -> nn.Module:
    """The residual network of 18 layers, 1000 classes."""
    return ResNet18(channels=shape[0])


def resnet50(shape: Shape) -> nn.Module:
    """The residual network of 50 layers, 1000 classes."""
    return ResNet50(channels=shape[0])


def vit_b(shape: Shape) -> nn.Module:
    """ViT-B/16; for images of fewer than 64 pixels a tiny one."""
    if shape[-1] >= 64:
        return VisionTransformer(shape[-1])
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return VisionTransformer(shape[-1], patch_size=8, intermediate_size=32, **tiny)


NETWORKS: dict[str, Callable[[Shape], nn.Module]] = {
    make.__name__: make for make in (simple_conv, simple_conv_4, small, resnet18, resnet50, vit_b)
}
"""What makes a network for images of a shape, by name."""
