"""An 18-layer residual network in plain torch."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; every ReLU is a module of its own.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the first convolution, and of the shortcut's 1x1 convolution where there is one.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The block of ``(batch, channel, y, x)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The residual network of 18 layers with its 7x7 stem (He et al. 2016, table 1).

    Args:
        channels: Of the images.
        classes: Outputs.
    """

    def __init__(self, channels: int = 3, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential()
        before = WIDTHS[0]
        for width in WIDTHS:
            self.blocks.append(Block(before, width, 1 if width == before else 2))
            self.blocks.append(Block(width, width, 1))
            before = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(batch, class)`` of images ``(batch, channel, y, x)``."""
        return self.fc(self.pool(self.blocks(self.stem(x))).flatten(1))
