"""The residual networks of CIFAR, and their plain twins without shortcuts."""

import re

from keras import KerasTensor, layers

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.models.checks import check_image_size

ENTRIES = [
    {
        "name": "resnet8",
        "description": "CIFAR network of 8 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 2*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 1*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 1*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "resnet20",
        "description": "CIFAR network of 20 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 6*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 5*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 5*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "resnet32",
        "description": "CIFAR network of 32 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 10*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 9*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 9*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "resnet44",
        "description": "CIFAR network of 44 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 14*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 13*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 13*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "resnet56",
        "description": "CIFAR network of 56 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 18*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 17*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 17*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "resnet110",
        "description": "CIFAR network of 110 layers with parameter-free shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 36*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 35*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 35*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain8",
        "description": "CIFAR network of 8 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 2*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 1*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 1*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain20",
        "description": "CIFAR network of 20 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 6*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 5*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 5*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain32",
        "description": "CIFAR network of 32 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 10*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 9*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 9*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain44",
        "description": "CIFAR network of 44 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 14*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 13*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 13*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain56",
        "description": "CIFAR network of 56 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 18*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 17*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 17*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
    {
        "name": "plain110",
        "description": "CIFAR network of 110 layers without shortcuts",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*3*16 + 2*16) + 36*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + 35*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + 35*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
    },
]


def _cifar_network(name: str, image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of one of the 6n + 2 layer networks of section 4.2.

    A 3x3 convolution, then three stages of n blocks of two 3x3 convolutions with 16, 32 and 64
    channels, the second and third stage starting with a stride of 2, then a global average.
    Every convolution is followed by batch normalization and has no bias. Blocks with new shapes
    use the paper's option A: every second pixel, and zeros for the new channels.

    Args:
        name: ``resnet`` or ``plain`` (no shortcuts) and the number of layers.
        image: the normalised image.
        num_classes: number of logits.

    Shapes:
        image: (B, H, W, C), H and W at least 8; the paper's is 32x32x3.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2; initial weights arXiv:1502.01852.
    """
    check_image_size(name, image, smallest=8)
    family, depth = re.fullmatch(r"(resnet|plain)(\d+)", name).groups()
    x = _convolution(image, 16, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    features = {"stem": x}
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, (int(depth) - 2) // 6 + 1):
            x = _block(
                x,
                filters,
                f"stage{stage}_block{block}",
                stride=2 if stage > 1 and block == 1 else 1,
                has_shortcut=family == "resnet",
            )
        features[f"stage{stage}"] = x
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    features["pooled"] = x
    features["logits"] = layers.Dense(
        num_classes, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(x)
    return features


def _block(
    x: KerasTensor, filters: int, name: str, *, stride: int, has_shortcut: bool
) -> KerasTensor:
    """Two convolutions, and the input added before the last ReLU."""
    y = _convolution(x, filters, f"{name}_conv1", stride=stride)
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _convolution(y, filters, f"{name}_conv2")
    if has_shortcut:
        y = layers.Add(name=f"{name}_add")([y, _shortcut(x, filters, name, stride=stride)])
    return layers.ReLU(name=f"{name}_relu2")(y)


def _convolution(x: KerasTensor, filters: int, name: str, *, stride: int = 1) -> KerasTensor:
    """A 3x3 convolution and its batch normalization."""
    if stride > 1:
        # Keras's own padding of an even image is one-sided at stride 2 and would shift the
        # block half a pixel against its shortcut.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=f"{name}_bn")(x)


def _shortcut(x: KerasTensor, filters: int, name: str, *, stride: int) -> KerasTensor:
    """The block's input in the shape of its output, by option A."""
    if stride > 1:
        x = layers.AveragePooling2D(1, strides=stride, name=f"{name}_shortcut_pool")(x)
    missing = filters - x.shape[-1]
    if missing:
        # Told that channels come first, the layer pads the last two axes: width and channels.
        x = layers.ZeroPadding2D(
            ((0, 0), (missing // 2, missing - missing // 2)),
            data_format="channels_first",
            name=f"{name}_shortcut_pad",
        )(x)
    return x


def resnet8(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 8-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet8", image, num_classes=num_classes)


def resnet20(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 20-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet20", image, num_classes=num_classes)


def resnet32(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 32-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet32", image, num_classes=num_classes)


def resnet44(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 44-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet44", image, num_classes=num_classes)


def resnet56(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 56-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet56", image, num_classes=num_classes)


def resnet110(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 110-layer residual network; see `_cifar_network`."""
    return _cifar_network("resnet110", image, num_classes=num_classes)


def plain8(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 8-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain8", image, num_classes=num_classes)


def plain20(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 20-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain20", image, num_classes=num_classes)


def plain32(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 32-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain32", image, num_classes=num_classes)


def plain44(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 44-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain44", image, num_classes=num_classes)


def plain56(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 56-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain56", image, num_classes=num_classes)


def plain110(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of the 110-layer plain network; see `_cifar_network`."""
    return _cifar_network("plain110", image, num_classes=num_classes)
