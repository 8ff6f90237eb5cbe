"""The residual networks of CIFAR, and their plain twins without shortcuts."""

from keras import KerasTensor, layers

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.models.checks import check_image_size

ENTRIES = [
    {
        "name": "{family}{depth}",
        "function": "cifar_network",
        "description": "CIFAR network of {depth} layers {with_what}",
        "source": "He et al. 2015, arXiv:1512.03385, section 4.2",
        "image_shape": (32, 32, 3),
        "smallest_image": 8,
        "num_classes": 10,
        # a stage has 2n convolutions; the later two begin with one from half the channels
        "parameters": (
            "(3*3*3*16 + 2*16) + 2*{n}*(3*3*16*16 + 2*16)"
            " + (3*3*16*32 + 2*32) + (2*{n} - 1)*(3*3*32*32 + 2*32)"
            " + (3*3*32*64 + 2*64) + (2*{n} - 1)*(3*3*64*64 + 2*64) + (64*10 + 10)"
        ),
        "variants": [
            {"family": "resnet", "depth": 8, "n": 1, "with_what": "with parameter-free shortcuts"},
            {"family": "resnet", "depth": 20, "n": 3, "with_what": "with parameter-free shortcuts"},
            {"family": "resnet", "depth": 32, "n": 5, "with_what": "with parameter-free shortcuts"},
            {"family": "resnet", "depth": 44, "n": 7, "with_what": "with parameter-free shortcuts"},
            {"family": "resnet", "depth": 56, "n": 9, "with_what": "with parameter-free shortcuts"},
            {
                "family": "resnet",
                "depth": 110,
                "n": 18,
                "with_what": "with parameter-free shortcuts",
            },
            {"family": "plain", "depth": 8, "n": 1, "with_what": "without shortcuts"},
            {"family": "plain", "depth": 20, "n": 3, "with_what": "without shortcuts"},
            {"family": "plain", "depth": 32, "n": 5, "with_what": "without shortcuts"},
            {"family": "plain", "depth": 44, "n": 7, "with_what": "without shortcuts"},
            {"family": "plain", "depth": 56, "n": 9, "with_what": "without shortcuts"},
            {"family": "plain", "depth": 110, "n": 18, "with_what": "without shortcuts"},
        ],
    },
]


def cifar_network(
    image: KerasTensor, *, num_classes: int, family: str, depth: int, n: int
) -> dict[str, KerasTensor]:
    """Returns the features of one of the 6n + 2 layer networks of section 4.2.

    A 3x3 convolution, then three stages of n blocks of two 3x3 convolutions with 16, 32 and 64
    channels, the second and third stage starting with a stride of 2, then a global average.
    Every convolution is followed by batch normalization and has no bias. Blocks with new shapes
    use the paper's option A: every second pixel, and zeros for the new channels.

    Args:
        image: the normalised image.
        num_classes: number of logits.
        family: ``resnet``, or ``plain`` for no shortcuts.
        depth: number of layers with weights, 6n + 2.
        n: blocks a stage.

    Shapes:
        image: (B, H, W, C), H and W at least 8; the paper's is 32x32x3.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2; initial weights arXiv:1502.01852.
    """
    check_image_size(f"{family}{depth}", image, smallest=8)
    x = _convolution(image, 16, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    features = {"stem": x}
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, n + 1):
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
