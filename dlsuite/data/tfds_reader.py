"""Image-classification datasets of tensorflow-datasets, by their own names."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets

from dlsuite.data.batch_decoding import BatchDecoder
from dlsuite.data.dataset import Split, images_at_once
from dlsuite.data.files import in_parallel
from dlsuite.data.images import decode_header, decode_image
from dlsuite.data.source import NumberedNames, Source, in_memory, numbered_names, on_demand
from dlsuite.data.tfds_builders import find_builder, prepare_builder
from dlsuite.data.tfds_splits import choose_splits, split_argument
from dlsuite.data.tfrecords import Records, Shard
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "tfds",
        "description": "any image-classification dataset of tensorflow-datasets, downloaded once",
        "source": "tensorflow.org/datasets",
        "kind": "reader",
        "syntax": "NAME, NAME/CONFIG:VERSION, NAME[:20%] or NAME[train=train[:80%],test=test]",
    },
]

_CHUNK = 1024

Builder = tensorflow_datasets.core.DatasetBuilder


def tfds(argument: str, settings: Data) -> Source:
    """Returns a dataset of tensorflow-datasets, downloaded and prepared where it isn't yet.

    Splits are the dataset's own train, validation and test. ``NAME[:20%]`` takes a part of
    train; ``NAME[train=train[:80%],validation=train[80%:],test=test]`` names each split in
    tfds's notation. Examples are in the order of tfds's files.

    Args:
        argument: the name and what follows it.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: unknown name, no network, or no images with one label each.
    """
    name, spec = split_argument(argument)
    return read_builder(find_builder(name), spec, settings, name=argument)


def read_builder(builder: Builder, spec: str, settings: Data, *, name: str) -> Source:
    """Returns the dataset of a builder, prepared where it isn't yet.

    Args:
        builder: of tfds.
        spec: what stands between brackets after the name, or nothing.
        settings: the recipe's data table.
        name: as the recipe names the dataset.

    Raises:
        DlsuiteError: it can't be prepared, or isn't one of images with one label each.
    """
    prepare_builder(builder)
    image_key, label_key = _keys(builder, name)
    chosen, notes = choose_splits(builder, spec, name)
    records = {split: records_of(builder, instruction) for split, instruction in chosen.items()}
    labels = {
        split: stored_labels(found, label_key, builder.data_path)
        for split, found in records.items()
    }
    if "test" in labels and (labels["test"] < 0).all():
        # contests keep their test labels; tfds writes -1
        del records["test"], labels["test"]
        notes.append("The dataset's test split has no labels and was left out.")
    image_shape = _image_shape(builder, next(iter(records.values())), image_key, settings, name)
    total = sum(map(len, records.values())) * int(np.prod(image_shape))
    held = total <= settings.memory_gb * 2**30
    splits: dict[str, Split] = {}
    is_as_stored = builder.info.features[image_key].shape == image_shape
    decoder = BatchDecoder(image_shape) if is_as_stored else None
    for split, found in records.items():
        names = numbered_names(name, split, len(found))
        read_files = _file_reader(found, image_key)
        read = _reader(read_files, names, image_shape, decoder)
        splits[split] = (
            in_memory(split, read(np.arange(len(found))), labels[split], names)
            if held
            else on_demand(split, read, labels[split], names, _plain_reader(read_files, decoder))
        )
    if not held:
        notes.append(
            f"The images take {total / 2**30:.1f} GB decoded, more than "
            f"data.memory_gb={settings.memory_gb:g}; they are read from tfds's files when needed."
        )
    class_names = tuple(builder.info.features[label_key].names)
    return Source(name, class_names, image_shape, splits, (0.0, 255.0), notes)


def _keys(builder: Builder, name: str) -> tuple[str, str]:
    """Returns the names of the one image and the one label of an example."""
    features = builder.info.features
    kinds = (tensorflow_datasets.features.Image, tensorflow_datasets.features.ClassLabel)
    found = [[key for key, feature in features.items() if type(feature) is kind] for kind in kinds]
    # of several, the ones that tfds itself trains on
    supervised = builder.info.supervised_keys or ()
    image_keys, label_keys = ([key for key in keys if key in supervised] or keys for keys in found)
    if len(image_keys) != 1 or len(label_keys) != 1:
        raise DlsuiteError(
            "Classification needs examples of one image and one label. Received: "
            f"{name!r} with {', '.join(features)}. Choose another dataset; see "
            "`dlsuite datasets`."
        )
    image_key, label_key = image_keys[0], label_keys[0]
    if features[image_key].np_dtype != np.uint8:
        raise DlsuiteError(
            f"Images of tfds must be uint8. Received: {name!r} with "
            f"{np.dtype(features[image_key].np_dtype)}. Save them as HDF5 and use h5:."
        )
    return image_key, label_key


def records_of(builder: Builder, instruction: str) -> Records:
    """Returns a prepared dataset's serialised examples by index.

    Raises:
        DlsuiteError: they don't lie in TFRecord files.
    """
    if str(builder.info.file_format.value) != "tfrecord":
        raise DlsuiteError(
            "tfds datasets are read from TFRecord files. Received: "
            f"{str(builder.data_dir)!r} prepared as {builder.info.file_format.value}. "
            "Set TFDS_DATA_DIR to another folder, where it will be prepared again."
        )
    shards = [
        Shard(Path(part.filename), part.skip, part.take)
        for part in builder.info.splits[instruction].file_instructions
    ]
    return Records(shards)


def stored_labels(records: Records, label_key: str, folder: Path) -> np.ndarray:
    """Returns all labels, kept beside the prepared data: parsing means reading every image.

    Args:
        records: the examples.
        label_key: the label's name in an example.
        folder: where the labels are kept; one that can't be written changes only the time.
    """
    path = folder / f".dlsuite-labels-{label_key}-{records.fingerprint()}.npy"
    try:
        kept = np.load(path, allow_pickle=False)
        if kept.shape == (len(records),) and kept.dtype == np.int32:
            return kept
    except (OSError, ValueError, EOFError):  # none yet, or one that was cut short
        pass
    labels = _labels(records, label_key)
    # another process may do the same; the last one to finish stays, and both are right
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.save(file, labels)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return labels


def _labels(records: Records, label_key: str) -> np.ndarray:
    """Returns all labels; images are passed over, neither copied nor decoded."""
    label = {label_key: tf.io.FixedLenFeature([], tf.int64)}
    labels = np.empty(len(records), np.int32)
    for start in range(0, len(records), _CHUNK):
        stop = min(start + _CHUNK, len(records))
        chunk = [records[index] for index in range(start, stop)]
        labels[start:stop] = tf.io.parse_example(chunk, label)[label_key].numpy()
    return labels


def _encoded(record: bytes, image_key: str) -> bytes:
    example = tf.train.Example.FromString(record)
    return example.features.feature[image_key].bytes_list.value[0]


def _image_shape(
    builder: Builder, records: Records, image_key: str, settings: Data, name: str
) -> tuple[int, int, int]:
    height, width, channels = builder.info.features[image_key].shape
    if settings.image_size:
        height = width = settings.image_size
    elif height is None or width is None:
        header = decode_header(_encoded(records[0], image_key), name=f"{name}/train/0")
        raise DlsuiteError(
            f"The images of {name!r} have different sizes. Received: no data.image_size (the "
            f"first image is {header.width}x{header.height}). Set data.image_size, for example "
            "--set data.image_size=128."
        )
    return height, width, settings.channels or channels or 3


def _file_reader(records: Records, image_key: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what reads the contents of image files by index, (B,), bytes."""

    def read(indices: np.ndarray) -> np.ndarray:
        # protobuf's own parser takes a quarter of the time of TensorFlow's operation here
        encoded = np.empty(len(indices), object)
        encoded[:] = [_encoded(records[index], image_key) for index in indices.tolist()]
        return encoded

    return read


def _plain_reader(
    read_files: Callable[[np.ndarray], np.ndarray], decoder: BatchDecoder | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns a split's `read_encoded`, where images are stored in the wanted shape."""
    if decoder is None:
        return None

    def read(indices: np.ndarray) -> np.ndarray:
        encoded = read_files(indices)
        return encoded if decoder.accepts(encoded) else encoded[:0]

    return read


def _reader(
    read_files: Callable[[np.ndarray], np.ndarray],
    names: NumberedNames,
    image_shape: tuple[int, int, int],
    decoder: BatchDecoder | None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what reads images by index; those of the shape they are stored in by the batch."""

    def read_chunk(indices: np.ndarray) -> np.ndarray:
        encoded = read_files(indices)
        images = None if decoder is None else decoder(encoded.tolist())
        if images is None:

            def decode_one(place: int) -> np.ndarray:
                name = names[int(indices[place])]
                return decode_image(encoded[place], name=name, image_shape=image_shape)

            images = np.stack(in_parallel(decode_one, range(len(indices))))
        return images

    def read(indices: np.ndarray) -> np.ndarray:
        size = images_at_once(image_shape, _CHUNK)
        images = np.empty((len(indices), *image_shape), np.uint8)
        for start in range(0, len(indices), size):
            images[start : start + size] = read_chunk(indices[start : start + size])
        return images

    return read
