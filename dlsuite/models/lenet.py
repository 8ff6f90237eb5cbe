"""LeNet-5, the convolutional network of the digits."""

from keras import KerasTensor, layers

from dlsuite.models.checks import check_image_size

ENTRIES = [
    {
        "name": "lenet5",
        "description": "the classic of digit recognition: tanh, average pooling, full C3",
        "source": "LeCun, Bottou, Bengio and Haffner 1998, Proc. IEEE 86, section II.B",
        "image_shape": (28, 28, 1),
        "smallest_image": 16,
        "num_classes": 10,
        "parameters": (
            "(5*5*1*6 + 6) + (5*5*6*16 + 16) + (5*5*16*120 + 120) + (120*84 + 84) + (84*10 + 10)"
        ),
    },
]


def lenet5(image: KerasTensor, *, num_classes: int) -> dict[str, KerasTensor]:
    """Returns the features of LeNet-5, the layers named as in the paper: c1, s2, ... f6.

    Images smaller than 32x32 get a frame of zeros up to that size. What differs from the paper:
    C3 sees all six maps of S2 instead of its table of subsets; subsampling has no trainable
    coefficient and bias; the activation is tanh without its scale of 1.7159; the output layer
    is affine instead of Euclidean distances to drawn digits.

    Args:
        image: the normalised image.
        num_classes: number of logits.

    Shapes:
        image: (B, H, W, C), H and W at least 16; the paper's is 32x32x1.
    """
    check_image_size("lenet5", image, smallest=16)
    x = layers.ZeroPadding2D(_frame(image), name="pad")(image)
    features = {}
    x = features["c1"] = layers.Conv2D(6, 5, activation="tanh", name="c1")(x)
    x = features["s2"] = layers.AveragePooling2D(2, name="s2")(x)
    x = features["c3"] = layers.Conv2D(16, 5, activation="tanh", name="c3")(x)
    x = features["s4"] = layers.AveragePooling2D(2, name="s4")(x)
    # On a 5x5 map a 5x5 convolution and a fully connected layer are the same thing.
    x = features["flat"] = layers.Flatten(name="flat")(x)
    x = features["c5"] = layers.Dense(120, activation="tanh", name="c5")(x)
    x = features["f6"] = layers.Dense(84, activation="tanh", name="f6")(x)
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _frame(image: KerasTensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of zeros before and after, up to 32."""
    missing = [max(0, 32 - side) for side in image.shape[1:3]]
    return tuple((count // 2, count - count // 2) for count in missing)
