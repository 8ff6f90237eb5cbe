"""Image classification: one network, one label an image."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from dlsuite.data.augment import check_augment
from dlsuite.data.dataset import Dataset
from dlsuite.data.load import load_dataset
from dlsuite.data.pipeline import (
    evaluation_batch_size,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from dlsuite.errors import DlsuiteError
from dlsuite.models.build import Network, build_network
from dlsuite.models.summary import flops
from dlsuite.optimizers.build import build_optimizer, schedule_callbacks
from dlsuite.recipes.classification import ClassificationRecipe
from dlsuite.recipes.schema import Data
from dlsuite.tasks.precision import precision_policy

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_STD = np.array([0.229, 0.224, 0.225])


class Classification:
    """A recipe's dataset, network, loss and optimizer, ready for the engine.

    Attributes:
        recipe: as given.
        dataset: loaded.
        network: the functional model and its named features.
        model: ``network.model``, compiled.
        optimizers, exported, averages, features, step_size, steps_per_epoch, metrics, notes: what
            the engine asks for (see `dlsuite.engine.task`).

    Raises:
        DlsuiteError: the data can't be read, or do not fit the network or the batch size.
    """

    # the name of what `monitor` takes unless told otherwise
    metrics = ("val_loss", "val_accuracy", "loss", "accuracy")

    def __init__(self, recipe: ClassificationRecipe):
        self.recipe = recipe
        self._replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.dataset = load_dataset(recipe.data)
        if not self.dataset.class_names:
            raise DlsuiteError(
                "Classification needs a label an image. Received: "
                f"{self.dataset.name!r}, which has none. Choose another dataset from "
                "`dlsuite datasets`, or another task."
            )
        check_augment(recipe.data.augment, self.dataset.image_shape)
        self.step_size = recipe.train.batch_size
        self.steps_per_epoch = steps_per_epoch(self.dataset.splits["train"], self.step_size)
        with precision_policy(recipe.train.precision):
            self.network = self._network()
            self.model = self.network.model
            self._compile()

    def _network(self) -> Network:
        name = self.recipe.model.name
        if name.startswith("keras:") and self.dataset.value_range != (0, 255):
            low, high = self.dataset.value_range
            raise DlsuiteError(
                "Networks of keras.applications take images of values 0 to 255. Received: "
                f"{name!r} with {self.dataset.name!r}, whose values go from {low:g} to {high:g}. "
                "Scale the images to 0..255, or take a network that dlsuite normalises."
            )
        mean, std = normalization(self.recipe.data, self.dataset)
        return build_network(
            name,
            image_shape=self.dataset.image_shape,
            num_classes=self.dataset.num_classes,
            mean=mean,
            std=std,
            seed=self.recipe.train.seed,
            options=self.recipe.model.options,
        )

    def _compile(self) -> None:
        self.model.compile(
            optimizer=build_optimizer(
                self.recipe.optimizer,
                self.recipe.schedule,
                steps_per_epoch=self.steps_per_epoch,
                epochs=self.recipe.train.epochs,
            ),
            loss=_loss(self.recipe, class_weights(self.recipe, self.dataset)),
            # weighted, so that the padding of an evaluation's last batch does not count
            weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        )
        self.model.optimizer.build(self.model.trainable_variables)
        _begin_averages(self.model.optimizer, self.model.trainable_variables)
        self.optimizers = [(self.model.optimizer, self.model.trainable_variables)]
        # the same layers without the optimizer and loss, so that plain Keras opens the file
        self.exported = keras.Model(self.model.input, self.model.output, name=self.model.name)
        self.averages = None
        if self.recipe.optimizer.ema_decay is not None:
            self.averages = keras.callbacks.SwapEMAWeights()
            self.averages.set_model(self.model)

    @property
    def features(self) -> Mapping[str, str]:
        """Name of an intermediate feature to the layer whose output it is."""
        return self.network.features

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user on the data and the network."""
        return (*self.dataset.notes, *self.network.notes)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one example's forward pass."""
        return flops(self.model)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns what the schedule needs beyond the optimizer."""
        return schedule_callbacks(
            self.recipe.schedule, self.recipe.train.monitor, [self.model.optimizer]
        )

    def training_data(
        self, start_step: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Returns the infinite batches from a step on: (image, one-hot label).

        A shard (index, number of shards) is that part of each batch.
        """
        return training_batches(
            self.dataset.splits["train"],
            batch_size=self.recipe.train.batch_size,
            num_classes=self.dataset.num_classes,
            seed=self.recipe.train.seed,
            augment=self.recipe.data.augment,
            value_range=self.dataset.value_range,
            start_step=start_step,
            shard=shard,
        )

    def validation_data(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns the validation split's batches, or a shard of each; examples count once."""
        split = self.dataset.splits["validation"]
        size = evaluation_batch_size(split, self.recipe.train.batch_size, replicas=self._replicas)
        return evaluation_batches(
            split, batch_size=size, num_classes=self.dataset.num_classes, shard=shard
        )


def normalization(
    data: Data, dataset: Dataset
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Returns the mean and deviation a channel, in stored units, that the network begins with.

    Raises:
        DlsuiteError: ImageNet's figures asked for images that are not RGB.
    """
    channels = dataset.image_shape[-1]
    low, high = dataset.value_range
    if data.normalize == "standardize":
        return dataset.mean, dataset.std
    if data.normalize == "unit":
        return [low] * channels, [high - low] * channels
    if data.normalize == "imagenet":
        if channels != 3:
            raise DlsuiteError(
                "ImageNet's mean and deviation are for RGB images. Received: images with "
                f"{channels} channel(s). Set data.channels=3 or data.normalize='standardize'."
            )
        scale = high - low
        return list(low + _IMAGENET_MEAN * scale), list(_IMAGENET_STD * scale)
    return None, None


def class_weights(recipe: ClassificationRecipe, dataset: Dataset) -> np.ndarray | None:
    """Returns the loss's weight of each class, (K,), or None where all weigh 1.

    ``balanced`` is N / (K * count), so that the weights' mean over the training split is 1.

    Raises:
        DlsuiteError: a list of another length than the number of classes.
    """
    asked = recipe.loss.class_weights
    if asked == "none":
        return None
    if asked == "balanced":
        labels = dataset.splits["train"].labels
        counts = np.bincount(labels, minlength=dataset.num_classes)
        return len(labels) / (dataset.num_classes * np.maximum(counts, 1))
    if len(asked) != dataset.num_classes:
        raise DlsuiteError(
            f"loss.class_weights needs one weight a class. Received: {len(asked)} weights for "
            f"{dataset.num_classes} classes. Their order: {', '.join(dataset.class_names)}."
        )
    return np.asarray(asked)


def _begin_averages(
    optimizer: keras.optimizers.Optimizer, weights: Sequence[keras.Variable]
) -> None:
    """Has the moving averages begin at the weights: Keras's are 0 until the first update.

    Which is many steps away where gradients are accumulated.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.use_ema:
        for average, weight in zip(inner._model_variables_moving_average, weights, strict=True):
            average.assign(weight)


def _loss(recipe: ClassificationRecipe, weights: np.ndarray | None) -> keras.losses.Loss:
    smoothing = recipe.loss.label_smoothing
    if recipe.loss.name == "mse":
        loss = SoftmaxMeanSquaredError(label_smoothing=smoothing)
    else:
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=smoothing, name="nll"
        )
    return loss if weights is None else ClassWeighted(loss, weights)


class ClassWeighted(keras.losses.Loss):
    """A loss times the weight of the example's class; a mixed label weighs as its mixture.

    In the loss and not in the examples' weights, which would weigh the accuracy too.

    Shapes:
        labels, logits: (B, K), float32.
    """

    def __init__(self, loss: keras.losses.Loss, weights: np.ndarray):
        super().__init__(name=f"weighted_{loss.name}")
        self._loss = loss
        self._weights = tf.constant(weights, tf.float32)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the weighted loss of each example, (B,)."""
        return self._loss.call(y_true, y_pred) * tf.linalg.matvec(y_true, self._weights)


class SoftmaxMeanSquaredError(keras.losses.Loss):
    """Mean squared error between the labels and the softmax of the logits.

    The Brier score divided by the number of classes: (1/K) sum_k (p_k - y_k)^2.

    Shapes:
        labels, logits: (B, K), float32.
    """

    def __init__(self, *, label_smoothing: float = 0.0, name: str = "mse"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the error of each example, (B,)."""
        target = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_true.shape[-1]
        return tf.reduce_mean(tf.square(tf.nn.softmax(y_pred) - target), axis=-1)
