"""The network of the demo."""

from __future__ import annotations

from torch import Tensor, nn

from tmeasures.errors import ArgumentError


class SimpleConv(nn.Module):
    """The small convolutional network of Quiroga (2020), figure 12.

    Five 3x3 convolutions that keep the size of the maps, of f, f, 2f, 2f and 4f filters; a max pool
    after the second and the fourth; two linear layers, the hidden one of 4f units; ELU after all
    but the last; log-softmax.

    Args:
        filters: f, of the first convolution; 32 in the paper.
        shape: Of an input: channels, height, width; height and width at least 4.
        classes: Outputs.

    Raises:
        ArgumentError: The input is too small for two pools.

    Example:
        >>> import torch
        >>> network = SimpleConv(filters=8, shape=(1, 28, 28), classes=10)
        >>> network(torch.rand(5, 1, 28, 28)).exp().sum(1).round(decimals=4)
        tensor([1., 1., 1., 1., 1.], grad_fn=<RoundBackward1>)
    """

    def __init__(
        self, filters: int = 32, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10
    ) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 4:
            raise ArgumentError(
                f"shape={shape} is too small for two pools: give height and width of at least 4"
            )
        self.conv1 = nn.Conv2d(channels, filters, 3, padding=1)
        self.elu1 = nn.ELU()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1)
        self.elu2 = nn.ELU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(filters, 2 * filters, 3, padding=1)
        self.elu3 = nn.ELU()
        self.conv4 = nn.Conv2d(2 * filters, 2 * filters, 3, padding=1)
        self.elu4 = nn.ELU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv5 = nn.Conv2d(2 * filters, 4 * filters, 3, padding=1)
        self.elu5 = nn.ELU()
        self.fc1 = nn.Linear(4 * filters * (height // 4) * (width // 4), 4 * filters)
        self.elu6 = nn.ELU()
        self.fc2 = nn.Linear(4 * filters, classes)
        self.log_softmax = nn.LogSoftmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities ``(batch, classes)`` of images ``(batch, *shape)``."""
        x = self.elu1(self.conv1(x))
        x = self.pool1(self.elu2(self.conv2(x)))
        x = self.elu3(self.conv3(x))
        x = self.pool2(self.elu4(self.conv4(x)))
        x = self.elu5(self.conv5(x))
        x = self.elu6(self.fc1(x.flatten(1)))
        output: Tensor = self.log_softmax(self.fc2(x))
        return output
