"""A network from a `.keras` file, under a new head."""

import zipfile
from pathlib import Path

import keras
from keras import KerasTensor, layers

from dlsuite.errors import DlsuiteError

# Registers the layers of ours that a file may hold.
from dlsuite.layers import maxout  # noqa: F401
from dlsuite.models.checks import check_fraction, check_switch
from dlsuite.models.graft import graft

_WITHOUT_WEIGHTS = (layers.Activation, layers.Softmax, layers.Dropout)


def build(
    name: str,
    image: KerasTensor,
    *,
    num_classes: int,
    frozen: bool = False,
    keep_head: bool = False,
    dropout: float = 0.0,
) -> dict[str, KerasTensor]:
    """Returns the features of a saved network under a new head.

    The file's last dense layer, with dropout before and softmax after it, is replaced by one of
    `num_classes` logits. A file without one gets a head on its last features, averaged over the
    map. Where the network normalises by itself (Normalization or Rescaling before its first
    weights), the dataset's normalisation is left out.

    Args:
        name: path of the file.
        image: the normalised image.
        num_classes: number of logits.
        frozen: train the head alone; batch normalization then keeps its statistics.
        keep_head: keep the weights of the file's dense layer, which must have `num_classes`.
        dropout: fraction of the features left out in training.

    Raises:
        DlsuiteError: the file can't be read or runs code of its own, an option is outside its
            range, or the images have another shape.
    """
    check_switch("frozen", frozen)
    check_switch("keep_head", keep_head)
    check_fraction("dropout", dropout)
    model = read_model(Path(name))
    _check_image(name, model, image)
    head, x = _split_head(model)
    if keep_head and (head is None or head.units != num_classes):
        received = "no dense layer at the end" if head is None else f"{head.units} classes"
        raise DlsuiteError(
            f"keep_head needs a file whose last layer has the dataset's {num_classes} classes. "
            f"Received: {name} with {received}. Set model.keep_head=false for a new head."
        )
    (stored,) = keras.utils.get_source_inputs(image)
    if _normalizes(model):
        image = stored
    base = graft(keras.Model(model.inputs, x), stored, image, keep_names=False)
    if frozen:
        base.trainable = False
    x = base.output
    features = {"base": x}
    if len(x.shape) > 2:
        x = features["pooled"] = layers.GlobalAveragePooling2D(name="pooled")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
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


def read_model(path: Path) -> keras.Model:
    """Returns the functional model in a `.keras` file, which can't make anything run.

    Raises:
        DlsuiteError: there is no such file, it is damaged, or it needs code that is neither
            Keras's nor dlsuite's.
    """
    if not path.is_file():
        raise DlsuiteError(
            f"A model that ends in .keras is a file. Received: {path}, which does not exist. "
            "Check the path, or list the networks with `dlsuite models`."
        )
    if not zipfile.is_zipfile(path):
        raise DlsuiteError(
            f"A .keras file is a zip archive that Keras wrote. Received: {path}, which is not, "
            "or not all of it. Save the model again with model.save(PATH)."
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        # Keras wraps the reason in one layer of text for each model around it
        reason = str(error).rsplit("Exception encountered: ", 1)[-1].partition(". ")[0]
        raise DlsuiteError(
            f"A .keras file may hold Keras's own layers only, and no code. Received: {path}: "
            f"{reason}. Save it whole, without lambdas and without layers of your own."
        ) from error
    functional = isinstance(model, keras.Model) and getattr(model, "inputs", None)
    if not functional or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise DlsuiteError(
            f"A network to fine-tune has one input and one output. Received: {path}, which "
            "does not, or was saved before it was built. Save it as a functional model."
        )
    # A Sequential model has the same graph, but none of the methods that follow it.
    return keras.Model(model.inputs, model.outputs)


def _check_image(name: str, model: keras.Model, image: KerasTensor) -> None:
    wanted, received = model.inputs[0].shape[1:], tuple(image.shape[1:])
    fits = len(wanted) == 3 and all(
        side in (None, size) for side, size in zip(wanted, received, strict=True)
    )
    if not fits:
        wanted = "x".join("any" if side is None else str(side) for side in wanted)
        sides = [side for side in model.inputs[0].shape[1:] if side]
        remedy = (
            f"Set data.image_size={sides[0]} and data.channels={sides[-1]}."
            if len(sides) == 3
            else "Set data.image_size and data.channels to that."
        )
        received = "x".join(str(size) for size in received)
        raise DlsuiteError(f"{name} takes images of {wanted}. Received: {received}. {remedy}")


def _split_head(model: keras.Model) -> tuple[layers.Dense | None, KerasTensor]:
    """The last dense layer, if the network ends in one, and the features before its dropout."""
    x = model.outputs[0]
    layer = x._keras_history.operation
    while isinstance(layer, _WITHOUT_WEIGHTS):
        x = layer.input
        layer = x._keras_history.operation
    if not isinstance(layer, layers.Dense):
        return None, model.outputs[0]
    x = layer.input
    while isinstance(x._keras_history.operation, layers.Dropout):
        x = x._keras_history.operation.input
    return layer, x


def _normalizes(model: keras.Model) -> bool:
    """Whether the network normalises an image before the first layer that has weights."""
    seen, ahead = set(), [model.inputs[0]._keras_history.operation]
    while ahead:
        operation = ahead.pop()
        if isinstance(operation, layers.Normalization | layers.Rescaling):
            return True
        seen.add(operation)
        if not getattr(operation, "weights", None):
            following = (node.operation for node in operation._outbound_nodes)
            ahead += [layer for layer in following if layer not in seen]
    return False


def own_sizes(path: Path) -> tuple[tuple[int, int, int] | None, int | None]:
    """Returns a file's own image shape and number of classes; None for what it leaves open.

    Raises:
        DlsuiteError: as `read_model`.
    """
    model = read_model(path)
    shape = tuple(model.inputs[0].shape[1:])
    head, _ = _split_head(model)
    return None if None in shape else shape, head.units if head else None
