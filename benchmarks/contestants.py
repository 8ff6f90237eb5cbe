"""The benchmarked networks trained by dlsuite, stock Keras and PyTorch, each in its own process.

The same for all: architecture, batch size, float32, threads, optimizer, loss and accuracy
measured, images in memory as uint8 and drawn in a new random order each epoch. Augmented, each
image is mirrored or not and cropped at a random place after padding by 4 pixels: by dlsuite's
pipeline, by the usual map of TensorFlow's image functions, and for PyTorch on the batch, which is
faster than its usual transforms an image. PyTorch runs in the channels_last format, eager or
compiled by ``torch.compile``. Each function imports its library alone.

On a GPU the images stay in the host's memory and go over batch by batch, PyTorch's by pinned pages
without waiting; all three may multiply in TensorFloat-32, which is TensorFlow's default.
"""

import os
from collections.abc import Callable

import numpy as np

BATCH = 128
LIBRARIES = ("dlsuite", "keras", "torch", "torch-compiled")
# examples: an epoch of at most one to two seconds
NETS = {
    "mlp": {
        "title": "MLP 784-256-128-10",
        "shape": (28, 28, 1),
        "optimizer": "adam",
        "examples": 100 * BATCH,
    },
    "mnist_cnn": {
        "title": "default net, mnist_cnn",
        "shape": (28, 28, 1),
        "optimizer": "adam",
        "examples": 20 * BATCH,
    },
    "resnet20": {
        "title": "ResNet-20",
        "shape": (32, 32, 3),
        "optimizer": "momentum",
        "examples": 5 * BATCH,
    },
    "vgg11": {
        "title": "VGG-11 at 32 px",
        "shape": (32, 32, 3),
        "optimizer": "momentum",
        "examples": 2 * BATCH,
        # the head that is usual at this size, and what makes it train at this rate
        "options": {"head": "small", "batch_normalization": True},
    },
}


def trainer(
    library: str, net: str, *, threads: int, device: str = "cpu", augment: bool = False
) -> Callable[[int], float]:
    """Returns a function that trains for so many epochs and returns the images seen."""
    images, labels = examples_of(net)
    make = {"dlsuite": dlsuite_epochs, "keras": keras_epochs}.get(library)
    if make is None:
        compiled = library == "torch-compiled"
        train = torch_epochs(net, images, labels, threads, device, augment, compiled=compiled)
    else:
        train = make(net, images, labels, begin(threads, device), augment)

    def work(epochs):
        train(epochs)
        return epochs * len(labels)

    return work


def examples_of(net: str) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels: what they show changes no time."""
    random = np.random.default_rng(0)
    shape, examples = NETS[net]["shape"], NETS[net]["examples"]
    images = random.integers(0, 256, (examples, *shape), dtype=np.uint8)
    return images, random.integers(0, 10, examples).astype("int32")


def begin(threads: int, device: str = "cpu") -> str:
    """Sets TensorFlow up for one device alone and returns its name of that."""
    from dlsuite.runtime import prepare

    prepare()
    import tensorflow as tf

    from dlsuite.engine.device import resolve_device, set_threads

    set_threads(threads)
    name = resolve_device(device)
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    return name


def dlsuite_epochs(net, images, labels, device, augment):
    from dlsuite.data.dataset import Split
    from dlsuite.data.pipeline import training_batches
    from dlsuite.engine.device import resolve_xla
    from dlsuite.engine.loop import Loop, Progress
    from dlsuite.recipes.schema import Augment

    model = keras_model(net)
    batches = training_batches(
        Split("train", labels, lambda index: images[index], images, range(len(labels))),
        batch_size=BATCH,
        num_classes=10,
        seed=0,
        augment=Augment(flip="horizontal", crop_padding=4) if augment else Augment(),
        value_range=(0.0, 255.0),
    )
    loop = Loop(model, use_xla=resolve_xla("rule", device, model)[0])
    guard = guard_of(model, batches)

    def train(epochs):
        steps = len(labels) // BATCH
        for _ in loop.train(
            batches, steps_per_epoch=steps, epochs=epochs, progress=Progress(), guard=guard
        ):
            pass

    return train


def guard_of(model, batches):
    """What a run has besides the loop: it keeps the state from before each call."""
    from dlsuite.engine.guard import Guard
    from dlsuite.engine.state import State

    state = State(model, [model.optimizer])
    optimizers = [(model.optimizer, model.trainable_variables)]
    return Guard(model, optimizers, state, lambda step: batches)


def keras_epochs(net, images, labels, device, augment):
    model = stock_model(net)
    import tensorflow as tf

    def change(image, label):
        height, width, channels = image.shape
        image = tf.image.random_flip_left_right(image)
        image = tf.image.resize_with_crop_or_pad(image, height + 8, width + 8)
        return tf.image.random_crop(image, (height, width, channels)), label

    data = tf.data.Dataset.from_tensor_slices((images, np.eye(10, dtype="float32")[labels]))
    data = data.shuffle(len(labels))
    if augment:
        data = data.map(change, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def train(epochs):
        model.fit(data, epochs=epochs, shuffle=False, verbose=0)  # the data shuffles itself

    return train


def stock_model(net):
    """The network of Keras's own layers alone, compiled."""
    import keras

    ours = keras_model(net)
    # through the file format every layer becomes Keras's own
    path = f"/tmp/dlsuite-benchmark-{os.getpid()}.keras"
    keras.Model(ours.inputs, ours.outputs).save(path)
    model = keras.saving.load_model(path)
    os.remove(path)
    compile_model(model, net)
    return model


def keras_model(net):
    from dlsuite.models.build import build_network

    shape = NETS[net]["shape"]
    statistics = {"mean": [127.5] * shape[-1], "std": [73.9] * shape[-1]}
    model = build_network(
        net, image_shape=shape, num_classes=10, options=NETS[net].get("options"), **statistics
    ).model
    compile_model(model, net)
    return model


def compile_model(model, net):
    import keras

    optimizers = {
        "adam": keras.optimizers.Adam(1e-3),
        "momentum": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    model.compile(
        optimizers[NETS[net]["optimizer"]],
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    model.optimizer.build(model.trainable_variables)


def torch_model(net, threads, device, *, compiled):
    """Returns the network in PyTorch, channels_last, what to call, and its device."""
    import torch
    from torch_networks import NETWORKS

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # tries out the algorithms, as TensorFlow does
    place = torch.device(device.replace("gpu", "cuda"))
    model = NETWORKS[net]().to(place, memory_format=torch.channels_last)
    return model, torch.compile(model) if compiled else model, place


def put(tensor, place):
    """Returns a tensor on its way to a device."""
    if place.type == "cpu":
        return tensor
    return tensor.pin_memory().to(place, non_blocking=True)


def torch_epochs(net, images, labels, threads, device, augment, *, compiled):
    import torch

    model, run, place = torch_model(net, threads, device, compiled=compiled)
    parameters = model.parameters()
    if NETS[net]["optimizer"] == "adam":
        optimizer = torch.optim.Adam(parameters, 1e-3)
    else:
        optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    # (N, H, W, C) in memory is what PyTorch calls channels_last
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    targets = torch.from_numpy(labels).long()
    measure_loss = torch.nn.CrossEntropyLoss()

    def train(epochs):
        model.train()
        for _ in range(epochs):
            order = torch.randperm(len(labels))
            loss_sum, hits = torch.zeros((), device=place), torch.zeros((), device=place)
            for start in range(0, len(labels), BATCH):
                index = order[start : start + BATCH]
                image = put(pixels[index], place)
                if augment:
                    image = torch_change(image)
                image = (image.float() - 127.5) / 73.9
                target = put(targets[index], place)
                optimizer.zero_grad(set_to_none=True)
                logits = run(image)
                loss = measure_loss(logits, target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach()
                hits += (logits.detach().argmax(1) == target).sum()
            loss_sum.item(), hits.item()  # what an epoch reports, and waits for

    return train


def torch_change(image):
    """Mirrors and crops a batch (B, C, H, W), each image by its own draws."""
    import torch

    count, _, height, width = image.shape
    place = image.device
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4)).permute(0, 2, 3, 1)
    rows = torch.randint(9, (count, 1), device=place) + torch.arange(height, device=place)
    columns = torch.randint(9, (count, 1), device=place) + torch.arange(width, device=place)
    mirrored = torch.rand(count, 1, device=place) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    number = torch.arange(count, device=place)[:, None, None]
    return padded[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
