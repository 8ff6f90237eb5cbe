"""The benchmarked networks in PyTorch, layer for layer as dlsuite's."""

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Sequential):
    """784-256-128-10 with ReLU."""

    def __init__(self):
        super().__init__(
            nn.Flatten(),
            nn.Linear(784, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )


class MnistCNN(nn.Sequential):
    """Three blocks of convolution, batch norm, ReLU and pooling, then a hidden layer."""

    def __init__(self):
        blocks = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            blocks += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        super().__init__(
            *blocks,
            nn.Flatten(),
            nn.Linear(3 * 3 * 128, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 10),
        )


class Block(nn.Module):
    """Two convolutions and a parameter-free shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = (outputs - inputs) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1 or self.padding:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """He et al. 2016, section 4.2, n = 3."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs in (16, 32, 64):
            for index in range(3):
                blocks.append(Block(inputs, outputs, 2 if index == 0 and outputs > 16 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


class VGG11(nn.Sequential):
    """Column A with batch norm; the last map straight to the logits, as usual at 32 px."""

    def __init__(self):
        parts, inputs = [], 3
        for outputs, count in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
            for _ in range(count):
                parts += [
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
            parts.append(nn.MaxPool2d(2))
        super().__init__(*parts, nn.Flatten(), nn.Linear(512, 10))


NETWORKS = {"mlp": MLP, "mnist_cnn": MnistCNN, "resnet20": ResNet20, "vgg11": VGG11}
