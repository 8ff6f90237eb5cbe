"""The default network: small images, a few epochs on a processor."""

from keras import KerasTensor, initializers, layers

from dlsuite.layers.batch_normalization import BatchNormalization
from dlsuite.layers.dropout import Dropout
from dlsuite.models.checks import check_count, check_fraction, check_image_size

ENTRIES = [
    {
        "name": "mnist_cnn",
        "description": "three convolution blocks with batch normalization, for small images",
        "source": "dlsuite's own",
        "image_shape": (28, 28, 1),
        "smallest_image": 8,
        "num_classes": 10,
        "parameters": (
            "(3*3*1*32 + 2*32) + (3*3*32*64 + 2*64) + (3*3*64*128 + 2*128)"
            " + (3*3*128*128 + 128) + (128*10 + 10)"
        ),
    },
]


def mnist_cnn(
    image: KerasTensor, *, num_classes: int, width: int = 32, dropout: float = 0.3
) -> dict[str, KerasTensor]:
    """Returns the features of three blocks of convolution, batch norm, ReLU and max pooling.

    The head is flattened, not averaged: on a few thousand digits the place of a stroke tells
    more than its presence, and a global average costs about a percent of accuracy.

    Args:
        image: the normalised image.
        num_classes: number of logits.
        width: channels of the first block; the others have twice and four times as many.
        dropout: fraction of the hidden layer's units left out in training.

    Shapes:
        image: (B, H, W, C), H and W at least 8.

    Raises:
        DlsuiteError: the image is too small, or an option outside its range.
    """
    check_image_size("mnist_cnn", image, smallest=8)
    check_count("width", width)
    check_fraction("dropout", dropout)
    features = {}
    x = image
    for stage, filters in enumerate((width, 2 * width, 4 * width), start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=_small() if stage == 1 else "glorot_uniform",
            name=f"stage{stage}_conv",
        )(x)
        x = BatchNormalization(momentum=0.9, name=f"stage{stage}_bn")(x)
        x = layers.ReLU(name=f"stage{stage}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        features[f"stage{stage}"] = x
    x = layers.Flatten(name="flat")(x)
    features["flat"] = x
    x = layers.Dense(128, activation="relu", name="hidden")(x)
    features["hidden"] = x
    x = Dropout(dropout, name="dropout")(x)
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _small() -> initializers.Initializer:
    """So small that what a kernel ends as was learnt; normalization takes the scale out again.

    Of Glorot's uniform numbers, here of a deviation of 0.08, most is left after training.
    """
    return initializers.RandomNormal(stddev=0.02)
