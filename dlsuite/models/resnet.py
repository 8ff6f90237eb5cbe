"""The residual networks of ImageNet, version 1.5."""

from collections.abc import Callable

from keras import KerasTensor, layers

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.models.checks import check_image_size, check_switch

ENTRIES = [
    {
        "name": "resnet{depth}",
        "function": "resnet",
        "description": "residual network of {depth} layers, blocks of two 3x3 convolutions",
        "source": "He et al. 2015, arXiv:1512.03385, table 1",
        "image_shape": (224, 224, 3),
        "smallest_image": 32,
        "num_classes": 1000,
        "parameters": (
            "(7*7*3*64 + 2*64)"
            " + 2*{blocks[0]}*(3*3*64*64 + 2*64)"
            " + (3*3*64*128 + 2*128) + (2*{blocks[1]} - 1)*(3*3*128*128 + 2*128)"
            " + (3*3*128*256 + 2*256) + (2*{blocks[2]} - 1)*(3*3*256*256 + 2*256)"
            " + (3*3*256*512 + 2*512) + (2*{blocks[3]} - 1)*(3*3*512*512 + 2*512)"
            " + (64*128 + 2*128) + (128*256 + 2*256) + (256*512 + 2*512)"
            " + (512*1000 + 1000)"
        ),
        "variants": [
            {"depth": 18, "blocks": (2, 2, 2, 2), "bottleneck": False},
            {"depth": 34, "blocks": (3, 4, 6, 3), "bottleneck": False},
        ],
    },
    {
        "name": "resnet{depth}",
        "function": "resnet",
        "description": "residual network of {depth} layers, bottlenecks of three convolutions",
        "source": "He et al. 2015, arXiv:1512.03385, table 1; stride as in v1.5",
        "image_shape": (224, 224, 3),
        "smallest_image": 32,
        "num_classes": 1000,
        # each stage: its first block, that block's shortcut, the other blocks
        "parameters": (
            "(7*7*3*64 + 2*64)"
            " + (64*64 + 3*3*64*64 + 64*256 + 2*(64 + 64 + 256)) + (64*256 + 2*256)"
            " + ({blocks[0]} - 1)*(256*64 + 3*3*64*64 + 64*256 + 2*(64 + 64 + 256))"
            " + (256*128 + 3*3*128*128 + 128*512 + 2*(128 + 128 + 512)) + (256*512 + 2*512)"
            " + ({blocks[1]} - 1)*(512*128 + 3*3*128*128 + 128*512 + 2*(128 + 128 + 512))"
            " + (512*256 + 3*3*256*256 + 256*1024 + 2*(256 + 256 + 1024)) + (512*1024 + 2*1024)"
            " + ({blocks[2]} - 1)*(1024*256 + 3*3*256*256 + 256*1024 + 2*(256 + 256 + 1024))"
            " + (1024*512 + 3*3*512*512 + 512*2048 + 2*(512 + 512 + 2048)) + (1024*2048 + 2*2048)"
            " + ({blocks[3]} - 1)*(2048*512 + 3*3*512*512 + 512*2048 + 2*(512 + 512 + 2048))"
            " + (2048*1000 + 1000)"
        ),
        "variants": [
            {"depth": 50, "blocks": (3, 4, 6, 3), "bottleneck": True},
            {"depth": 101, "blocks": (3, 4, 23, 3), "bottleneck": True},
            {"depth": 152, "blocks": (3, 8, 36, 3), "bottleneck": True},
        ],
    },
]

_FILTERS = (64, 128, 256, 512)


def resnet(
    image: KerasTensor,
    *,
    num_classes: int,
    depth: int,
    blocks: tuple[int, int, int, int],
    bottleneck: bool,
    zero_init_residual: bool = False,
) -> dict[str, KerasTensor]:
    """Returns the features of a stem, four stages of residual blocks and a global average.

    Version 1.5 has the stride of a bottleneck in its 3x3 convolution; the paper has it in the
    first 1x1, which drops three quarters of the input. Shortcuts that change shape are 1x1
    convolutions (option B). No convolution has a bias: batch normalization follows each.

    Args:
        image: the normalised image.
        num_classes: number of logits.
        depth: number of layers with weights.
        blocks: in each stage.
        bottleneck: blocks of 1x1, 3x3 and 1x1 convolutions; otherwise of two 3x3.
        zero_init_residual: start each block as the identity, with gamma 0 in its last batch
            normalization (arXiv:1706.02677, section 5.1).

    Shapes:
        image: (B, H, W, C), H and W at least 32; at 224x224 the last map is 7x7.

    Source: He et al. 2015, arXiv:1512.03385, table 1; initial weights arXiv:1502.01852.
    """
    check_image_size(f"resnet{depth}", image, smallest=32)
    check_switch("zero_init_residual", zero_init_residual)
    block = _bottleneck if bottleneck else _basic_block
    last_gamma = "zeros" if zero_init_residual else "ones"
    x = _convolution(image, 64, 7, "stem_conv", stride=2)
    x = layers.ReLU(name="stem_relu")(x)
    features = {"stem": x}
    # After a ReLU a frame of zeros never wins the maximum.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    stages = zip(_FILTERS, blocks, strict=True)
    for stage, (filters, count) in enumerate(stages, start=1):
        for number in range(1, count + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            x = _residual(x, block, filters, f"stage{stage}_block{number}", stride, last_gamma)
        features[f"stage{stage}"] = x
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    features["pooled"] = x
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _residual(
    x: KerasTensor,
    block: Callable[..., KerasTensor],
    filters: int,
    name: str,
    stride: int,
    last_gamma: str,
) -> KerasTensor:
    """A block added to its input, which is projected where the shapes differ."""
    y = block(x, filters, name, stride, last_gamma)
    if stride > 1 or x.shape[-1] != y.shape[-1]:
        x = _convolution(x, y.shape[-1], 1, f"{name}_shortcut", stride=stride)
    y = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=f"{name}_relu")(y)


def _basic_block(
    x: KerasTensor, filters: int, name: str, stride: int, last_gamma: str
) -> KerasTensor:
    x = _convolution(x, filters, 3, f"{name}_conv1", stride=stride)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    return _convolution(x, filters, 3, f"{name}_conv2", gamma=last_gamma)


def _bottleneck(
    x: KerasTensor, filters: int, name: str, stride: int, last_gamma: str
) -> KerasTensor:
    x = _convolution(x, filters, 1, f"{name}_conv1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, filters, 3, f"{name}_conv2", stride=stride)
    x = layers.ReLU(name=f"{name}_relu2")(x)
    return _convolution(x, 4 * filters, 1, f"{name}_conv3", gamma=last_gamma)


def _convolution(
    x: KerasTensor, filters: int, size: int, name: str, *, stride: int = 1, gamma: str = "ones"
) -> KerasTensor:
    """A convolution and its batch normalization."""
    if stride > 1 and size > 1:
        # Keras's own padding of an even image is one-sided at stride 2 and would shift the
        # block half a pixel against its shortcut.
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return BatchNormalization(
        momentum=0.9, epsilon=1.001e-5, gamma_initializer=gamma, name=f"{name}_bn"
    )(x)
