"""Fully connected networks of any depth, with the activation functions of the textbooks."""

from collections.abc import Sequence

from keras import KerasTensor, layers

from dlsuite.layers.dropout import Dropout
from dlsuite.layers.leaky_relu import LeakyReLU
from dlsuite.layers.maxout import Maxout
from dlsuite.models.checks import check_choice, check_count, check_counts, check_fraction

ENTRIES = [
    {
        "name": "mlp",
        "description": "fully connected layers; any depth, six activation functions",
        "source": "Rumelhart, Hinton and Williams 1986",
        "image_shape": (28, 28, 1),
        "smallest_image": 1,
        "num_classes": 10,
        "parameters": "(784*256 + 256) + (256*128 + 128) + (128*10 + 10)",
    },
]

# Variance-preserving start: Glorot and Bengio 2010 for the saturating functions, and
# He et al. 2015 (arXiv:1502.01852) for those that are linear on one side.
_INITIALIZERS = {
    "sigmoid": "glorot_uniform",
    "tanh": "glorot_uniform",
    "relu": "he_normal",
    "leaky_relu": "he_normal",
    "elu": "he_normal",
    "maxout": "glorot_uniform",
}


def mlp(
    image: KerasTensor,
    *,
    num_classes: int,
    hidden: Sequence[int] = (256, 128),
    activation: str = "relu",
    maxout_pieces: int = 2,
    dropout: float = 0.0,
) -> dict[str, KerasTensor]:
    """Returns the features of a stack of fully connected layers over the flattened image.

    Args:
        image: the normalised image, (B, H, W, C) of any size.
        num_classes: number of logits.
        hidden: units of each hidden layer; empty gives multinomial logistic regression.
        activation: sigmoid 1 / (1 + exp(-x)), tanh, relu max(0, x),
            leaky_relu max(0.1 x, x), elu (x, or exp(x) - 1 below 0), or maxout.
        maxout_pieces: affine maps a maxout unit chooses from.
        dropout: fraction of each hidden layer's units left out in training.

    Raises:
        DlsuiteError: an option is outside its range.
    """
    check_choice("activation", activation, list(_INITIALIZERS))
    check_count("maxout_pieces", maxout_pieces)
    check_fraction("dropout", dropout)
    x = layers.Flatten(name="flat")(image)
    features = {"flat": x}
    for number, units in enumerate(check_counts("hidden", hidden), start=1):
        name = f"hidden{number}"
        if activation == "maxout":
            x = Maxout(units, maxout_pieces, name=name)(x)
        else:
            initializer = _INITIALIZERS[activation]
            x = layers.Dense(units, kernel_initializer=initializer, name=f"{name}_dense")(x)
            x = _activation(activation, name)(x)
        features[name] = x
        if dropout:
            x = Dropout(dropout, name=f"{name}_dropout")(x)
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def _activation(activation: str, name: str) -> layers.Layer:
    """The activation as a layer of its own, so that values before it can be looked at too."""
    if activation == "leaky_relu":
        return LeakyReLU(negative_slope=0.1, name=name)
    return layers.Activation(activation, name=name)
