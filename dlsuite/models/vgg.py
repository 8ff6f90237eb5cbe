"""The VGG networks: 3x3 convolutions in stages of doubling width."""

from keras import KerasTensor, layers

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.layers.dropout import Dropout
from dlsuite.models.checks import check_choice, check_fraction, check_image_size, check_switch

ENTRIES = [
    {
        "name": "vgg{depth}",
        "function": "vgg",
        "description": "3x3 convolutions in five stages and three dense layers, {depth} in all",
        "source": "Simonyan and Zisserman 2014, arXiv:1409.1556, table 1, column {column}",
        "image_shape": (224, 224, 3),
        "smallest_image": 32,
        "num_classes": 1000,
        "parameters": (
            "(3*3*3*64 + 64) + ({convolutions[0]} - 1)*(3*3*64*64 + 64)"
            " + (3*3*64*128 + 128) + ({convolutions[1]} - 1)*(3*3*128*128 + 128)"
            " + (3*3*128*256 + 256) + ({convolutions[2]} - 1)*(3*3*256*256 + 256)"
            " + (3*3*256*512 + 512) + ({convolutions[3]} - 1)*(3*3*512*512 + 512)"
            " + {convolutions[4]}*(3*3*512*512 + 512)"
            " + (7*7*512*4096 + 4096) + (4096*4096 + 4096) + (4096*1000 + 1000)"
        ),
        "variants": [
            {"depth": 11, "column": "A", "convolutions": (1, 1, 2, 2, 2)},
            {"depth": 13, "column": "B", "convolutions": (2, 2, 2, 2, 2)},
            {"depth": 16, "column": "D", "convolutions": (2, 2, 3, 3, 3)},
            {"depth": 19, "column": "E", "convolutions": (2, 2, 4, 4, 4)},
        ],
    },
]

_FILTERS = (64, 128, 256, 512, 512)


def vgg(
    image: KerasTensor,
    *,
    num_classes: int,
    depth: int,
    convolutions: tuple[int, int, int, int, int],
    batch_normalization: bool = False,
    head: str = "imagenet",
    dropout: float = 0.5,
) -> dict[str, KerasTensor]:
    """Returns the features of five stages of convolutions, each closed by a max pooling.

    The paper starts deep networks from trained shallow ones; here the initial weights of
    arXiv:1502.01852 make that unnecessary.

    Args:
        image: the normalised image.
        num_classes: number of logits.
        depth: number of layers with weights.
        convolutions: in each stage.
        batch_normalization: normalise after each convolution, whose bias then is left out.
        head: ``imagenet``, two hidden layers of 4096 units, or ``small``, the last map straight
            to the logits, as is usual at 32x32.
        dropout: fraction of each hidden layer's units left out in training.

    Shapes:
        image: (B, H, W, C), H and W at least 32; at 224x224 the last map is 7x7x512.
    """
    check_image_size(f"vgg{depth}", image, smallest=32)
    check_switch("batch_normalization", batch_normalization)
    check_choice("head", head, ["imagenet", "small"])
    check_fraction("dropout", dropout)
    convolution = _normalized_convolution if batch_normalization else _plain_convolution
    features = {}
    x = image
    stages = zip(_FILTERS, convolutions, strict=True)
    for stage, (filters, count) in enumerate(stages, start=1):
        for number in range(1, count + 1):
            x = convolution(x, filters, f"stage{stage}_conv{number}")
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        features[f"stage{stage}"] = x
    x = layers.Flatten(name="flat")(x)
    features["flat"] = x
    for number in (1, 2) if head == "imagenet" else ():
        x = layers.Dense(
            4096, activation="relu", kernel_initializer="he_normal", name=f"hidden{number}"
        )(x)
        features[f"hidden{number}"] = x
        x = Dropout(dropout, name=f"dropout{number}")(x)
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _plain_convolution(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    return layers.Conv2D(
        filters,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _normalized_convolution(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    x = layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
