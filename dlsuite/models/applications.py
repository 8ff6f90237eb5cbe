"""The networks of `keras.applications`, with their own preprocessing inside."""

import contextlib
import re
import sys
import warnings

import keras
from keras import KerasTensor, layers

from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.layers.dropout import Dropout
from dlsuite.models.checks import check_choice, check_fraction, check_switch
from dlsuite.models.graft import graft

# How each family's `preprocess_input` changes images in 0..255: "tf" to -1..1; "torch" to
# ImageNet's mean 0 and deviation 1 a channel; "caffe" to BGR minus ImageNet's mean; "inside"
# not at all, because the network begins with layers that do. Keys are Keras's modules.
PREPROCESSING = {
    "convnext": "inside",
    "densenet": "torch",
    "efficientnet": "inside",
    "efficientnet_v2": "inside",
    "inception_resnet_v2": "tf",
    "inception_v3": "tf",
    "mobilenet": "tf",
    "mobilenet_v2": "tf",
    "mobilenet_v3": "inside",
    "nasnet": "tf",
    "resnet": "caffe",
    "resnet_v2": "tf",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "tf",
}


def application_names() -> list[str]:
    """Returns the names of the networks in `keras.applications`."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def family(name: str) -> str:
    """Returns the Keras module that holds the network of that name."""
    return getattr(keras.applications, name).__module__.rsplit(".", 1)[-1]


def build(
    name: str,
    image: KerasTensor,
    *,
    num_classes: int,
    weights: str = "imagenet",
    frozen: bool = False,
    dropout: float = 0.0,
) -> dict[str, KerasTensor]:
    """Returns the features of a network of `keras.applications` under a new head.

    The dataset's normalisation is bypassed: the network gets what its weights were trained on.
    Grey images become three equal channels. The head is a global average and one dense layer.

    Args:
        name: ``keras:`` and a name of `keras.applications`.
        image: the image, normalised or not; values as stored are 0 to 255.
        num_classes: number of logits.
        weights: ``imagenet``, which Keras downloads once, or ``random``.
        frozen: train the head alone; the rest then computes as after training, without dropout
            and with the batch normalization's statistics as they are.
        dropout: fraction of the averaged features left out in training.

    Raises:
        DlsuiteError: unknown name, an option outside its range, an image the network can't
            take, or weights that can't be had.
    """
    network = name.removeprefix("keras:")
    if network not in application_names():
        remedy = "The names are those of https://keras.io/api/applications."
        raise unknown_name("network of keras.applications", network, application_names(), remedy)
    check_choice("weights", weights, ["imagenet", "random"])
    check_switch("frozen", frozen)
    check_fraction("dropout", dropout)
    (stored,) = keras.utils.get_source_inputs(image)
    x = preprocess(_three_channels(name, stored), PREPROCESSING[family(network)])
    x = _base(name, stored, x, weights, frozen=frozen)
    features = {"base": x}
    x = features["pooled"] = layers.GlobalAveragePooling2D(name="pooled")(x)
    if dropout:
        x = Dropout(dropout, name="head_dropout")(x)
    features["logits"] = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return features


def preprocess(image: KerasTensor, mode: str) -> KerasTensor:
    """Returns the image as a family's `preprocess_input` gives it, by layers of Keras's own.

    Args:
        image: (B, H, W, 3), 0 to 255.
        mode: a value of `PREPROCESSING`, or ``unit`` for 0..1.
    """
    # float32 whatever the precision of the network: eight bits of an image are worth keeping
    named = {"dtype": "float32", "name": "preprocessing"}
    if mode == "unit":
        return layers.Rescaling(1 / 255, **named)(image)
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, **named)(image)
    if mode == "torch":
        mean = [255 * value for value in (0.485, 0.456, 0.406)]
        variance = [(255 * value) ** 2 for value in (0.229, 0.224, 0.225)]
        return layers.Normalization(mean=mean, variance=variance, **named)(image)
    if mode == "caffe":
        blue_first = keras.ops.flip(image, axis=-1)
        mean = [103.939, 116.779, 123.68]
        return layers.Normalization(mean=mean, variance=[1.0] * 3, **named)(blue_first)
    return image


def whole_network(name: str, *, weights: str = "imagenet") -> keras.Model:
    """Returns a network of `keras.applications` with its own head, its outputs logits.

    Args:
        name: of `keras.applications`.
        weights: ``imagenet``, which Keras downloads once, or ``random``.

    Raises:
        DlsuiteError: weights that can't be had.
    """
    constructor = getattr(keras.applications, name)
    try:
        # Keras reports a download on stdout, which belongs to results
        with contextlib.redirect_stdout(sys.stderr):
            return constructor(
                weights=None if weights == "random" else weights, classifier_activation=None
            )
    except Exception as error:  # what keras.utils.get_file raises has no class of its own
        raise _without_weights(f"keras:{name}", error) from error


def _three_channels(name: str, image: KerasTensor) -> KerasTensor:
    channels = image.shape[-1]
    if channels == 3:
        return image
    if channels == 1:
        return layers.Concatenate(dtype="float32", name="grey_to_rgb")([image] * 3)
    raise DlsuiteError(
        f"{name} takes images of 1 or 3 channels. Received: {channels} channels. "
        "Use a network from `dlsuite models`, which take any number."
    )


def _base(
    name: str, stored: KerasTensor, x: KerasTensor, weights: str, *, frozen: bool
) -> KerasTensor:
    """The last feature map of the network on the preprocessed image `x`."""
    constructor = getattr(keras.applications, name.removeprefix("keras:"))
    try:
        # Keras reports a download on stdout, which belongs to results
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            # MobileNet's note that weights for 224x224 serve other sizes too
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            network = constructor(
                include_top=False,
                weights=None if weights == "random" else weights,
                input_tensor=x,
                input_shape=tuple(x.shape[1:]),
            )
    except ValueError as error:
        size = re.search(r"at least (\d+)x\1", str(error))
        if size is None:
            raise
        _, height, width, _ = x.shape
        raise DlsuiteError(
            f"{name} needs images of at least {size[1]}x{size[1]} pixels. "
            f"Received: {height}x{width}. Set data.image_size={size[1]} or more."
        ) from error
    except Exception as error:  # what keras.utils.get_file raises has no class of its own
        raise _without_weights(name, error) from error
    return graft(keras.Model(stored, network.output), stored, frozen=frozen)


def _without_weights(name: str, error: Exception) -> Exception:
    """What to raise where a network could not be made: advice, if its weights were the reason."""
    if "URL fetch failure" not in str(error):
        return error
    return DlsuiteError(
        f"{name} needs its ImageNet weights from the network once. Received: {error}. "
        "Copy a trained .keras file here and name it with --model FILE.keras, or train from "
        "random weights: --set model.weights=random --set model.frozen=false."
    )
