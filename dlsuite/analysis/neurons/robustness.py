"""Small random moves of a picture, in the graph: what survives them is no accident of pixels."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Moves:
    """How far a picture is moved at each step.

    Attributes:
        rotation_deg: up to so many degrees either way.
        scale: smallest and largest magnification.
        shift: up to this fraction of the side either way.
    """

    rotation_deg: float = 8.0
    scale: tuple[float, float] = (0.9, 1.15)
    shift: float = 0.06

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns `count` moves: angle [rad], magnification, shifts [side], shape (count, 4)."""
        angle = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg, count))
        scale = np.exp(rng.uniform(*np.log(self.scale), count))
        shifts = rng.uniform(-self.shift, self.shift, (2, count))
        return np.stack([angle, scale, *shifts], axis=1).astype(np.float32)


MOVES = Moves()
# As in MaCo: the network sees pieces of the picture at many sizes.
CROPS = Moves(rotation_deg=0.0, scale=(1.0, 3.0), shift=0.3)


def moved(images: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
    """Returns each image rotated, magnified and shifted about its middle, mirrored at its edges.

    Bilinear, differentiable in the images, and compiled with the network.

    Shapes:
        images: (N, H, W, C), float32.
        moves: (N, 4) as `Moves.draw` gives them.
    """
    height, width = images.shape[1:3]
    angle, scale = moves[:, 0], moves[:, 1]
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    zero = tf.zeros_like(cos)
    # where in the input each output pixel (x, y) is taken from
    from_x = middle_x - cos * middle_x + sin * middle_y + moves[:, 3] * width
    from_y = middle_y - sin * middle_x - cos * middle_y + moves[:, 2] * height
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([cos, -sin, from_x, sin, cos, from_y, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
