"""A network from a `.keras` file, under a new head."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
from keras import KerasTensor, layers

from dlsuite.errors import DlsuiteError

# Registers the layers of ours that a file may hold.
from dlsuite.layers import maxout  # noqa: F401
from dlsuite.layers.dropout import Dropout
from dlsuite.models import check_file
from dlsuite.models.checks import check_fraction, check_switch
from dlsuite.models.graft import graft

# Names, because Keras doesn't export the classes of its operations.
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
_PROBABILITIES = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid")
_POOLING = {
    3: layers.GlobalAveragePooling1D,
    4: layers.GlobalAveragePooling2D,
    5: layers.GlobalAveragePooling3D,
}


def build(
    name: str,
    image: KerasTensor,
    *,
    num_classes: int,
    frozen: bool = False,
    keep_head: bool = False,
    dropout: float = 0.0,
    normalizes: bool | str = "auto",
) -> dict[str, KerasTensor]:
    """Returns the features of a saved network under a new head.

    The file's last dense layer, with dropout before and softmax after it, is replaced by one of
    `num_classes` logits. A file without one gets a head on its last features, averaged over
    their places, and never on probabilities.

    The dataset's normalisation is left out where the network normalises by itself. Told from the
    file, it does so if a Normalization, a Rescaling or arithmetic with constants comes before its
    first weights; a network that was trained on images as stored needs `normalizes` too.

    Args:
        name: path of the file.
        image: the normalised image.
        num_classes: number of logits.
        frozen: train the head alone; the rest then computes as after training, without dropout
            and with the batch normalization's statistics as they are. Unset, layers are trained
            as the file has it, or all of them where the file has none that is.
        keep_head: keep the weights of the file's dense layer, which must have `num_classes`.
        dropout: fraction of the features left out in training.
        normalizes: whether the network takes images as stored; ``auto`` tells it from the file.

    Raises:
        DlsuiteError: the file can't be read or runs code of its own, an option is outside its
            range, or the images have another shape.
    """
    check_switch("frozen", frozen)
    check_switch("keep_head", keep_head)
    check_fraction("dropout", dropout)
    check_switch("normalizes", normalizes, or_auto=True)
    model = read_model(Path(name))
    _check_image(name, model, image)
    head, x = _split_head(model)
    if keep_head and (head is None or head.units != num_classes):
        received = "no dense layer at the end" if head is None else f"{head.units} classes"
        raise DlsuiteError(
            f"keep_head needs a file whose last layer has the dataset's {num_classes} classes. "
            f"Received: {name} with {received}. Set model.keep_head=false for a new head."
        )
    if _normalizes(model) if normalizes == "auto" else normalizes:
        (image,) = keras.utils.get_source_inputs(image)
    base = keras.Model(model.inputs, x)
    thawed = not frozen and not base.trainable_variables
    x = graft(
        base,
        image,
        keep_names=False,
        frozen=frozen,
        thawed=thawed,
        policy=keras.config.dtype_policy().name,
    )
    features = {"base": x}
    if len(x.shape) > 2:
        x = features["pooled"] = _pool(name, x)
    if dropout:
        x = Dropout(dropout, name="head_dropout")(x)
    logits = layers.Dense(
        num_classes,
        use_bias=head.use_bias if keep_head else True,
        dtype="float32",
        name="logits",
    )
    features["logits"] = logits(x)
    if keep_head:
        logits.set_weights(head.get_weights())
    return features


def load_file(path: Path) -> keras.Layer:
    """Returns what a `.keras` file holds, which can't make anything run.

    Raises:
        DlsuiteError: there is no such file, it is damaged, or it needs code that is neither
            Keras's nor dlsuite's.
    """
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise DlsuiteError(
            f"A .keras file is a zip archive that Keras wrote. Received: {path}, which is not, "
            "or not all of it. Save the model again with model.save(PATH)."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what a damaged or hostile file makes Keras raise is open
        # Keras wraps the reason in one layer of text for each model around it
        reason = str(error).rsplit("Exception encountered: ", 1)[-1]
        # of several weights that can't be loaded, why the first one can't
        reason = reason.partition("Example error message")[2].partition("\n\n")[2] or reason
        reason = reason.partition("\n\n")[0].partition(". ")[0].strip() or type(error).__name__
        raise DlsuiteError(
            f"A .keras file may hold Keras's own layers only, and no code. Received: {path}: "
            f"{reason}. Save it whole, without lambdas and without layers of your own, or hand the "
            "model to dlsuite from Python."
        ) from error


def read_model(path: Path) -> keras.Model:
    """Returns the functional model in a `.keras` file, flat, which can't make anything run.

    Raises:
        DlsuiteError: as `load_file`, or what it holds does not take images.
    """
    model = load_file(path)
    functional = isinstance(model, keras.Model) and getattr(model, "inputs", None)
    if not functional or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise DlsuiteError(
            f"A network to fine-tune has one input and one output. Received: {path}, which "
            "does not, or was saved before it was built. Save it as a functional model."
        )
    (stored,) = model.inputs
    if len(stored.shape) != 4:
        raise DlsuiteError(
            "A network for images takes height x width x channels. Received: "
            f"{path}, which takes {_in_words(stored.shape[1:])}. Put an input of these three axes "
            "before it, such as keras.Input((28, 28, 1)) and a Reshape, and save it again."
        )
    image = keras.Input(stored.shape[1:], dtype=stored.dtype, name=stored.name)
    return keras.Model(image, graft(model, image))


def read_classifier(path: Path, image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns a saved classifier as one model from images as stored to features and logits.

    Features are the inputs of the last dense layer, before its dropout.

    Args:
        path: a ``.keras`` file, or the folder of a run.
        image_shape: (H, W, C) of the images that it shall take.

    Shapes:
        images: (B, H, W, C).
        returns: (B, F) and (B, K).

    Raises:
        DlsuiteError: no such file or folder, as `read_model`, it does not end in a dense layer on
            one feature vector, or it takes other images.
    """
    if not path.exists():
        raise DlsuiteError(
            f"A classifier is the folder of its run, or a .keras file. Received: '{path}', which "
            "doesn't exist. Check the path, or train one: `dlsuite train` names its folder."
        )
    model = read_model(path / "model.keras" if path.is_dir() else path)
    head, features = _split_head(model)
    if head is None or len(features.shape) != 2:
        raise DlsuiteError(
            f"A classifier ends in a dense layer on one vector an image. Received: {path}, which "
            "does not. Take the run of one, or its model.keras."
        )
    takes = tuple(model.inputs[0].shape[1:])
    if any(side not in (None, size) for side, size in zip(takes, image_shape, strict=True)):
        raise DlsuiteError(
            f"The classifier must take the images that are generated, {_in_words(image_shape)}. "
            f"Received: {path}, which takes {_in_words(takes)}. Train one on the same data."
        )
    # its own activation would make probabilities of what are to be logits
    logits = layers.Dense(head.units, use_bias=head.use_bias, dtype="float32", name="logits")
    classifier = keras.Model(model.inputs, [features, logits(features)])
    logits.set_weights(head.get_weights())
    return classifier


def own_sizes(path: Path) -> tuple[tuple[int | None, int | None, int | None], int | None]:
    """Returns a file's own image shape and number of classes; None for what it leaves open.

    Raises:
        DlsuiteError: as `read_model`.
    """
    model = read_model(path)
    head, _ = _split_head(model)
    return tuple(model.inputs[0].shape[1:]), head.units if head else None


def _check_image(name: str, model: keras.Model, image: KerasTensor) -> None:
    wanted, received = model.inputs[0].shape[1:], tuple(image.shape[1:])
    if all(side in (None, size) for side, size in zip(wanted, received, strict=True)):
        return
    remedy = (
        "Set data.image_size and data.channels to that."
        if None in wanted
        else f"Add --set data.image_size={wanted[0]} --set data.channels={wanted[-1]}."
    )
    raise DlsuiteError(
        f"{name} takes images of {_in_words(wanted)}. Received: {_in_words(received)}. {remedy}"
    )


def _in_words(shape: tuple[int | None, ...]) -> str:
    return "x".join("any" if side is None else str(side) for side in shape) or "single numbers"


def _split_head(model: keras.Model) -> tuple[layers.Dense | None, KerasTensor]:
    """The last dense layer, if the network ends in one, and the features before its dropout."""
    features = _before(model.outputs[0], _is_probabilities)
    x = _before(features, lambda layer: isinstance(layer, layers.Activation | layers.Dropout))
    layer = x._keras_history.operation
    if not isinstance(layer, layers.Dense):
        return None, features
    return layer, _before(_input_of(x), lambda layer: isinstance(layer, layers.Dropout))


def _before(x: KerasTensor, is_skipped: Callable[[keras.Operation], bool]) -> KerasTensor:
    """The tensor that came into the last operations which are to be skipped."""
    while is_skipped(x._keras_history.operation) or isinstance(
        x._keras_history.operation, layers.Identity
    ):
        x = _input_of(x)
    return x


def _input_of(x: KerasTensor) -> KerasTensor:
    """What a tensor was computed from, in that call of its layer, which may be shared."""
    history = x._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors[0]


def _is_probabilities(operation: keras.Operation) -> bool:
    if isinstance(operation, layers.Activation):
        return operation.activation in (keras.activations.softmax, keras.activations.sigmoid)
    return type(operation).__name__ in _PROBABILITIES


def _pool(name: str, x: KerasTensor) -> KerasTensor:
    """The features averaged over everything but channels."""
    if len(x.shape) not in _POOLING:
        raise DlsuiteError(
            "A new head stands on features with one to three axes before the channels, or none. "
            f"Received: {name}, whose features are {_in_words(x.shape[1:])}. End it in a pooling "
            "or a Flatten layer and save it again."
        )
    return _POOLING[len(x.shape)](name="pooled")(x)


def _normalizes(model: keras.Model) -> bool:
    """Whether a flat network normalises an image before the first layer that has weights."""
    seen, ahead = set(), list(model.inputs[0]._keras_history.operation._outbound_nodes)
    while ahead:
        node = ahead.pop()
        operation = node.operation
        # with one tensor the other operand is a constant
        is_scaling = type(operation).__name__ in _ARITHMETIC and len(node.input_tensors) == 1
        if is_scaling or isinstance(operation, layers.Normalization | layers.Rescaling):
            return True
        if operation not in seen and not getattr(operation, "weights", None):
            ahead += operation._outbound_nodes
        seen.add(operation)
    return False
