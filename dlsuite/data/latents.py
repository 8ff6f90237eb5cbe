"""Latent vectors as a pure function of a seed and a position: no generator, no state."""

import math

import tensorflow as tf

from dlsuite.data.randomness import ExampleRandom

# What latents are for; each use has a stream of its own, far from those of augmentation.
TRAINING, VALIDATION, SAMPLES, FLIPS, CHANGES = 1024, 2048, 3072, 4096, 5120
LAST_STEP = 2**62


def latents(
    seed: int, step: tf.Tensor, position: tf.Tensor, latent_dim: int, *, stream: int
) -> tf.Tensor:
    """Returns standard normal latent vectors, by Box and Muller's method.

    Each depends on (seed, step, position, stream) alone, so that any number of workers, and a
    run that goes on after a stop, draws the same ones.

    Args:
        seed: of the run, or of what is generated.
        step: training step, scalar, int64.
        position: in the global batch, or among what is generated, (B,), int64.
        latent_dim: length of a vector.
        stream: one of this module's constants.

    Shapes:
        (B, latent_dim), float32. No value is beyond 5.8 in magnitude.

    Source: Box and Muller 1958, Ann. Math. Stat. 29, 610.
    """
    half = -(-latent_dim // 2)
    uniform = ExampleRandom(seed, step, position).uniform(stream, 2 * half)
    # 1 - u lies in (0, 1]: its logarithm is finite
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - uniform[:, :half]))
    angle = 2.0 * math.pi * uniform[:, half:]
    normal = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
    return normal[:, :latent_dim]


def changes(seed: int, step: tf.Tensor, position: tf.Tensor, count: int) -> tf.Tensor:
    """Returns uniform numbers from which the changes of images follow, (B, count), in 0 to 1.

    Args:
        seed: of the run.
        step: training step, scalar, int64.
        position: in the global batch, (B,), int64.
        count: numbers an example.
    """
    return ExampleRandom(seed, step, position).uniform(CHANGES, count)


def flips(seed: int, step: tf.Tensor, number: tf.Tensor, probability: float) -> tf.Tensor:
    """Returns 1 for the draws that hit the probability and 0 for the others, float32.

    Args:
        seed: of the run.
        step: training step, scalar, int64.
        number: of the draw within the step, (n,), int64.
        probability: 0 to 1.
    """
    uniform = ExampleRandom(seed, step, number).uniform(FLIPS, 1)[:, 0]
    return tf.cast(uniform < probability, tf.float32)
