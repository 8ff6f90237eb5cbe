"""AlexNet, the network that began the deep years of ImageNet."""

from keras import KerasTensor, layers

from dlsuite.layers.dropout import Dropout
from dlsuite.models.checks import check_fraction, check_image_size

ENTRIES = [
    {
        "name": "alexnet",
        "description": "five convolutions and three dense layers, single tower",
        "source": "Krizhevsky 2014, arXiv:1404.5997; after Krizhevsky et al. 2012 (NIPS)",
        "image_shape": (224, 224, 3),
        "smallest_image": 63,
        "num_classes": 1000,
        "parameters": (
            "(11*11*3*64 + 64) + (5*5*64*192 + 192) + (3*3*192*384 + 384)"
            " + (3*3*384*256 + 256) + (3*3*256*256 + 256)"
            " + (6*6*256*4096 + 4096) + (4096*4096 + 4096) + (4096*1000 + 1000)"
        ),
    },
]


def alexnet(
    image: KerasTensor, *, num_classes: int, dropout: float = 0.5
) -> dict[str, KerasTensor]:
    """Returns the features of AlexNet in one tower, as it is trained since 2014.

    The 2012 network ran on two GPUs and normalised responses across channels; the single tower
    has neither. Its 64-192-384-256-256 channels are those of the author's cuda-convnet2 and of
    torchvision; a footnote of the 2014 paper has 384 in the fourth place.

    At 224x224 the last map is 6x6. Other sizes give another map and with it another first dense
    layer: there is no adaptive pooling.

    Args:
        image: the normalised image.
        num_classes: number of logits.
        dropout: fraction of units left out before each of the two hidden dense layers.

    Shapes:
        image: (B, H, W, C), H and W at least 63.
    """
    check_image_size("alexnet", image, smallest=63)
    check_fraction("dropout", dropout)
    x = layers.ZeroPadding2D(2, name="stage1_pad")(image)
    x = _convolution(x, 64, 11, "stage1_conv", stride=4, padding="valid")
    x = layers.MaxPooling2D(3, strides=2, name="stage1_pool")(x)
    features = {"stage1": x}
    x = _convolution(x, 192, 5, "stage2_conv")
    x = layers.MaxPooling2D(3, strides=2, name="stage2_pool")(x)
    features["stage2"] = x
    for number, filters in enumerate((384, 256, 256), start=1):
        x = _convolution(x, filters, 3, f"stage3_conv{number}")
    x = layers.MaxPooling2D(3, strides=2, name="stage3_pool")(x)
    features["stage3"] = x
    x = layers.Flatten(name="flat")(x)
    features["flat"] = x
    for number in (1, 2):
        x = Dropout(dropout, name=f"dropout{number}")(x)
        x = layers.Dense(
            4096, activation="relu", kernel_initializer="he_normal", name=f"hidden{number}"
        )(x)
        features[f"hidden{number}"] = x
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _convolution(
    x: KerasTensor, filters: int, size: int, name: str, *, stride: int = 1, padding: str = "same"
) -> KerasTensor:
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)
