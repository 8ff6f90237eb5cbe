"""A generator and a discriminator trained against each other, in one ``train_step``."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from dlsuite.models.adversaries import Adversaries
from dlsuite.recipes.gan import Gan
from dlsuite.tasks.adversarial_losses import (
    BOUNDARY,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    squared_gradient,
)
from dlsuite.tasks.classifier_scores import ClassifierScores
from dlsuite.tasks.differentiable_augmentation import NUMBERS, augmented
from dlsuite.tasks.distances import Distances
from dlsuite.tasks.spectra import PowerSpectrum, spectral_loss

Optimizer = keras.optimizers.Optimizer
Batch = Mapping[str, tf.Tensor]


class Adversarial(keras.Model):
    """Two networks, two optimizers, one step; the engine's contract.

    A step updates the discriminator ``critic_steps`` times, each on real images of its own, and
    the generator once, together with the last of these updates: on the same fake images and
    from the same weights. Gradients are taken and applied by explicit lists of variables, and
    losses are float32 whatever the precision. Real and fake images go through the
    discriminator apart, so that batch normalization does not mix them.

    Args:
        networks: the two.
        average: a generator that follows the moving average of the first one's weights; None
            keeps none.
        ema_decay: of that average.
        settings: the recipe's table.
        generator_optimizer: built on the generator's trainable variables.
        discriminator_optimizer: built on the discriminator's.
        distances: what validation measures.
        scores: what it measures by a classifier; None has none.
    """

    def __init__(
        self,
        networks: Adversaries,
        *,
        average: keras.Model | None,
        ema_decay: float | None,
        settings: Gan,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        distances: Distances,
        scores: ClassifierScores | None,
    ):
        super().__init__(name="adversarial")
        self.generator = networks.generator
        self.discriminator = networks.discriminator
        self.average = average
        self._ema_decay = ema_decay
        self._settings = settings
        self._generator_optimizer = generator_optimizer
        self._discriminator_optimizer = discriminator_optimizer
        self._spectrum = PowerSpectrum(self.generator.output_shape[1:])
        names = ["d_loss", "g_loss", "d_gradient", "g_gradient"]
        names += ["d_real", "d_fake"] if settings.loss in BOUNDARY else []
        names += ["r1"] if settings.r1 else []
        names += ["penalty"] if settings.gradient_penalty else []
        names += ["spectral"] if settings.spectral else []
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._validation = [distances] if scores is None else [distances, scores]
        # sub-networks are built; this model itself is never called
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of training, and what validation measures."""
        return [*self._means.values(), *self._validation]

    @property
    def sampler(self) -> keras.Model:
        """The generator that users get: the averaged one where there is one."""
        return self.generator if self.average is None else self.average

    def call(self, latent: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the generator's images in -1 to 1."""
        return self.sampler(latent, training=training)

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Updates both networks.

        Args:
            batch: ``real`` (n B, H, W, C) in the network's range, ``latent`` (n B, latent_dim)
                ``flip`` (n B,) and ``changes`` (n B, 8), of n critic steps, which take every
                n-th example.
        """
        n = self._settings.critic_steps
        for number in range(n - 1):
            self._step({name: values[number::n] for name, values in batch.items()}, both=False)
        self._step({name: values[n - 1 :: n] for name, values in batch.items()}, both=True)
        self._follow(batch["latent"][n - 1 :: n])
        return {name: mean.result() for name, mean in self._means.items()}

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds generated images, and as many real ones, to the statistics.

        Args:
            batch: ``real``, ``latent`` and ``weight``, 0 for what does not count.
        """
        fake = self.sampler(batch["latent"], training=False)
        results = {}
        for metric in self._validation:
            metric.update_state(batch["real"], fake, batch["weight"])
            results |= metric.result()
        return results

    def _step(self, batch: Batch, *, both: bool) -> None:
        settings = self._settings
        d_weights = self.discriminator.trainable_variables
        g_weights = self.generator.trainable_variables
        d_scale = self._discriminator_optimizer.scale_loss
        real = self._changed(batch["real"], batch["changes"][:, :NUMBERS])
        with tf.GradientTape() as real_tape:
            of_real, r1 = self._judge_real(real)
            real_loss = self._judged(of_real, batch, is_real=True)
            real_scaled = d_scale(_shared(real_loss + r1))
        d_gradients = real_tape.gradient(real_scaled, d_weights)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(batch["latent"], training=True)
            if not both:
                fake = tf.stop_gradient(fake)
            seen = self._changed(fake, batch["changes"][:, NUMBERS:])
            of_fake = self.discriminator(seen, training=True)
            fake_loss = self._judged(of_fake, batch, is_real=False)
            fake_scaled = d_scale(_shared(fake_loss + self._penalty(batch["latent"], real, seen)))
            if both:
                g_loss = generator_loss(settings.loss, of_fake)
                g_total = g_loss + self._spectral(batch["real"], fake)
                g_scaled = self._generator_optimizer.scale_loss(_shared(g_total))
        of_fakes = tape.gradient(fake_scaled, d_weights)
        d_gradients = [_sum(*pair) for pair in zip(d_gradients, of_fakes, strict=True)]
        self._means["d_loss"].update_state(real_loss + fake_loss)
        if settings.loss in BOUNDARY:
            boundary = BOUNDARY[settings.loss]
            self._means["d_real"].update_state(tf.cast(of_real > boundary, tf.float32))
            self._means["d_fake"].update_state(tf.cast(of_fake < boundary, tf.float32))
        if both:
            g_gradients = tape.gradient(g_scaled, g_weights)
            self._means["g_loss"].update_state(g_loss)
            self._apply(self._generator_optimizer, "g_gradient", g_gradients, g_weights)
        self._apply(self._discriminator_optimizer, "d_gradient", d_gradients, d_weights)

    def _judged(self, logits: tf.Tensor, batch: Batch, *, is_real: bool) -> tf.Tensor:
        return discriminator_loss(
            self._settings.loss,
            logits,
            is_real=is_real,
            flip=batch["flip"],
            smoothing=self._settings.label_smoothing,
        )

    def _changed(self, images: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """The images as the discriminator is to see them."""
        settings = self._settings
        return augmented(images, uniform, translation=settings.translation, cutout=settings.cutout)

    def _judge_real(self, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The logits of real images, and what R1 adds to the loss."""
        if not self._settings.r1:
            return self._judge(real), tf.constant(0.0)
        logits, squared = squared_gradient(self._judge, real)
        r1 = tf.reduce_mean(squared)
        self._means["r1"].update_state(r1)
        return logits, 0.5 * self._settings.r1 * r1

    def _penalty(self, latent: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        if not self._settings.gradient_penalty:
            return tf.constant(0.0)
        # the latent's own numbers place each point between its two images
        share = tf.math.floormod(tf.reduce_sum(tf.abs(latent), axis=1), 1.0)
        share = share[:, None, None, None]
        between = share * real + (1.0 - share) * tf.stop_gradient(fake)
        _, squared = squared_gradient(self._judge, between)
        penalty = gradient_penalty(squared)
        self._means["penalty"].update_state(penalty)
        return self._settings.gradient_penalty * penalty

    def _judge(self, images: tf.Tensor) -> tf.Tensor:
        return self.discriminator(images, training=True)

    def _spectral(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        if not self._settings.spectral:
            return tf.constant(0.0)
        loss = spectral_loss(self._spectrum(real), self._spectrum(fake))
        self._means["spectral"].update_state(loss)
        return self._settings.spectral * loss

    def _apply(
        self,
        optimizer: Optimizer,
        name: str,
        gradients: list[tf.Tensor],
        weights: list[keras.Variable],
    ) -> None:
        # of this replica's own examples; the metric is the mean over the replicas
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        norm = tf.linalg.global_norm(gradients) * replicas
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            norm /= tf.convert_to_tensor(optimizer.dynamic_scale)
        # a step whose gradients overflow is left out by the loss scale, and here
        is_finite = tf.math.is_finite(norm)
        self._means[name].update_state(
            tf.where(is_finite, norm, 0.0), sample_weight=tf.cast(is_finite, tf.float32)
        )
        optimizer.apply(gradients, weights)

    def _follow(self, latent: tf.Tensor) -> None:
        """Moves the average towards the generator's weights."""
        if self.average is None:
            return
        for mean, weight in zip(
            self.average.trainable_variables, self.generator.trainable_variables, strict=True
        ):
            before, now = tf.convert_to_tensor(mean), tf.convert_to_tensor(weight)
            mean.assign(self._ema_decay * before + (1.0 - self._ema_decay) * now)
        # Its moving statistics are of its own activations: averaged weights are smaller, and with
        # the generator's statistics CosmoGAN's maps had half the power that they have with these.
        self.average(latent, training=True)


def _sum(first: tf.Tensor | None, second: tf.Tensor | None) -> tf.Tensor | None:
    """The sum of two gradients, either of which may be missing."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _shared(loss: tf.Tensor) -> tf.Tensor:
    """A replica's share of the loss: gradients are summed over the replicas."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync
