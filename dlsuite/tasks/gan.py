"""Generative adversarial networks: a recipe's data, two networks, losses and optimizers."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from dlsuite.data import latents
from dlsuite.data.augment import check_augment
from dlsuite.data.load import load_dataset
from dlsuite.data.pipeline import (
    evaluation_batch_size,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from dlsuite.data.pixels import PixelTransform
from dlsuite.errors import DlsuiteError
from dlsuite.models.adversaries import build_adversaries
from dlsuite.models.summary import flops
from dlsuite.optimizers.build import build_optimizer, schedule_callbacks
from dlsuite.recipes.gan import GanRecipe
from dlsuite.tasks.adversarial import Adversarial
from dlsuite.tasks.adversarial_losses import UNLABELLED
from dlsuite.tasks.classifier_scores import ClassifierScores
from dlsuite.tasks.differentiable_augmentation import NUMBERS
from dlsuite.tasks.distances import Distances
from dlsuite.tasks.precision import precision_policy


class Gan:
    """A recipe's dataset, generator, discriminator and optimizers, ready for the engine.

    Attributes:
        recipe: as given.
        dataset: loaded; its labels are not used.
        networks: generator and discriminator.
        transform: between stored pixels and the networks' -1 to 1.
        model: both networks with their steps.
        optimizers, exported, averages, features, step_size, steps_per_epoch, metrics, notes: what
            the engine asks for (see `dlsuite.engine.task`).

    Raises:
        DlsuiteError: the data can't be read, or do not fit the networks or the batch size.
    """

    # of validation alone: the losses of training do not say how good the images are
    metrics = tuple(f"val_{name}" for name in (*Distances.ordered, *ClassifierScores.ordered))
    averages = None

    def __init__(self, recipe: GanRecipe):
        self.recipe = recipe
        _check(recipe)
        self._replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.dataset = load_dataset(recipe.data)
        check_augment(recipe.data.augment, self.dataset.image_shape)
        # the examples of a step: each of the critic's updates takes a batch of its own
        self.step_size = recipe.train.batch_size * recipe.gan.critic_steps
        _check_size(recipe, self.dataset.splits["train"].num_examples)
        self.steps_per_epoch = steps_per_epoch(self.dataset.splits["train"], self.step_size)
        self.transform = PixelTransform(recipe.pixels, self.dataset)
        self.transform.check(self.dataset.splits["validation"])
        with precision_policy(recipe.train.precision):
            self._build()
        self.features: Mapping[str, str] = {}
        self.notes: Sequence[str] = self.dataset.notes

    def _build(self) -> None:
        recipe = self.recipe
        options = {"seed": recipe.train.seed, "options": recipe.model.options}
        shape = self.dataset.image_shape
        self.networks = build_adversaries(recipe.model.name, image_shape=shape, **options)
        average = None
        if recipe.optimizer.ema_decay is not None:
            # of the same seed, and so of the same weights
            average = build_adversaries(recipe.model.name, image_shape=shape, **options).generator
        scores = None
        if recipe.gan.classifier is not None:
            scores = ClassifierScores(recipe.gan.classifier, shape, self.transform)
        generator, discriminator = self.networks.generator, self.networks.discriminator
        self.optimizers = [
            (self._optimizer(network, rate, updates), network.trainable_variables)
            for network, rate, updates in (
                (generator, recipe.optimizer.learning_rate, 1),
                (
                    discriminator,
                    recipe.gan.discriminator_learning_rate,
                    recipe.gan.critic_steps,
                ),
            )
        ]
        self.model = Adversarial(
            self.networks,
            average=average,
            ema_decay=recipe.optimizer.ema_decay,
            settings=recipe.gan,
            generator_optimizer=self.optimizers[0][0],
            discriminator_optimizer=self.optimizers[1][0],
            distances=Distances(shape),
            scores=scores,
        )
        sampler = self.model.sampler
        self.exported = keras.Model(
            sampler.input, self.transform.inverse(sampler.output), name=recipe.model.name
        )

    def _optimizer(
        self, network: keras.Model, rate: float | None, updates: int
    ) -> keras.optimizers.Optimizer:
        """A network's own, which makes so many updates a step."""
        settings = self.recipe.optimizer
        changes = {"ema_decay": None, "learning_rate": rate or settings.learning_rate}
        made = build_optimizer(
            settings.model_copy(update=changes),
            self.recipe.schedule,
            # Keras counts updates: the schedule ends with the training, however many a step has
            steps_per_epoch=self.steps_per_epoch * updates,
            epochs=self.recipe.train.epochs,
        )
        if self.recipe.train.precision == "float16":
            # each its own: the networks' gradients overflow at different scales
            made = keras.optimizers.LossScaleOptimizer(made, name=network.name)
        made.build(network.trainable_variables)
        return made

    @property
    def flops(self) -> int:
        """Floating-point operations of making one image and judging it, forward."""
        return flops(self.networks.generator) + flops(self.networks.discriminator)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns what the schedule needs beyond the optimizers."""
        optimizers = [optimizer for optimizer, _ in self.optimizers]
        return schedule_callbacks(self.recipe.schedule, self.recipe.train.monitor, optimizers)

    def training_data(
        self, start_step: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Returns the infinite batches from a step on, as `Adversarial.train_step` takes them.

        A shard (index, number of shards) is that part of each batch.
        """
        recipe = self.recipe
        images = training_batches(
            self.dataset.splits["train"],
            batch_size=self.step_size,
            num_classes=self.dataset.num_classes,
            seed=recipe.train.seed,
            augment=recipe.data.augment,
            value_range=self.dataset.value_range,
            start_step=start_step,
            shard=shard,
        )
        seed, critic_steps = recipe.train.seed, recipe.gan.critic_steps
        share = self.step_size // shard[1]
        position = tf.range(share, dtype=tf.int64) + shard[0] * share
        update = position % critic_steps

        def batch(step: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            dim = self.networks.latent_dim
            numbers = tf.range(critic_steps, dtype=tf.int64)
            flips = latents.flips(seed, step, numbers, recipe.gan.label_flip)
            return {
                "real": self.transform.forward(example[0]),
                "latent": latents.latents(seed, step, position, dim, stream=latents.TRAINING),
                "flip": tf.gather(flips, update),
                # those of the real and of the generated image
                "changes": latents.changes(seed, step, position, 2 * NUMBERS),
            }

        steps = tf.data.Dataset.range(start_step, latents.LAST_STEP)
        return (
            tf.data.Dataset.zip(steps, images)
            .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    def validation_data(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Returns the validation images' batches, or a shard of each, and a latent for each.

        The latents are the same in every epoch: ``real``, ``latent`` and ``weight``.
        """
        split = self.dataset.splits["validation"]
        size = evaluation_batch_size(split, self.recipe.train.batch_size, replicas=self._replicas)
        images = evaluation_batches(
            split, batch_size=size, num_classes=self.dataset.num_classes, shard=shard
        )
        share = size // shard[1]
        offset = tf.range(share, dtype=tf.int64) + shard[0] * share

        def batch(
            number: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
        ) -> dict[str, tf.Tensor]:
            dim, stream = self.networks.latent_dim, latents.VALIDATION
            seed, position = self.recipe.train.seed, number * size + offset
            return {
                "real": self.transform.forward(example[0]),
                "latent": latents.latents(seed, tf.constant(0), position, dim, stream=stream),
                "weight": example[2],
            }

        return images.enumerate().map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _check(recipe: GanRecipe) -> None:
    """Checks what the tables say together.

    Raises:
        DlsuiteError: settings that exclude each other.
    """
    augment = recipe.data.augment
    if augment.mixup or augment.cutmix:
        raise DlsuiteError(
            "mixup and cutmix mix labels, which a GAN has none of. Received: "
            f"data.augment.mixup={augment.mixup:g}, data.augment.cutmix={augment.cutmix:g}. "
            "Set both to 0."
        )
    needs_classifier = recipe.train.monitor.removeprefix("val_") in ClassifierScores.ordered
    if needs_classifier and recipe.gan.classifier is None:
        raise DlsuiteError(
            "What a classifier says of the images needs one. Received: "
            f"train.monitor={recipe.train.monitor!r} without gan.classifier. Set "
            "gan.classifier=RUN, or monitor val_distance."
        )
    for key in ("gradient_penalty", "r1"):
        value = getattr(recipe.gan, key)
        if value and recipe.model.options.get("normalization") != "none":
            raise DlsuiteError(
                "A penalty on gradients is of one image at a time. Received: "
                f"gan.{key}={value:g} with a discriminator that normalises over the batch. Set "
                f"model.normalization='none', or gan.{key}=0."
            )
    if recipe.gan.label_smoothing and recipe.gan.loss in UNLABELLED:
        raise DlsuiteError(
            f"Only losses with labels can smooth them. Received: gan.loss={recipe.gan.loss!r} with "
            f"gan.label_smoothing={recipe.gan.label_smoothing:g}. Add --set gan.label_smoothing=0."
        )


def _check_size(recipe: GanRecipe, num_examples: int) -> None:
    """Checks that the training split is enough for one step.

    Raises:
        DlsuiteError: it isn't.
    """
    batch_size, critic_steps = recipe.train.batch_size, recipe.gan.critic_steps
    if batch_size * critic_steps > num_examples:
        raise DlsuiteError(
            "A step must not take more images than the train split has. Received: "
            f"train.batch_size={batch_size} times gan.critic_steps={critic_steps} for "
            f"{num_examples} images. Lower one of the two."
        )
