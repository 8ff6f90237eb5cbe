"""Curvature of the loss: the Hessian's largest eigenvalues, trace and spectral density.

Products of the Hessian with a vector are exact, by forward-over-reverse differentiation, in one
compiled call over the samples. Nothing of the size of the Hessian is ever held.

Source: Ghorbani et al. 2019, arXiv:1901.10159 (Lanczos quadrature); Yao et al. 2019,
arXiv:1912.07145; Foret et al. 2020, arXiv:2010.01412, equation 2 (sharpness).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dlsuite.analysis.landscape import Samples

# Width of the density's kernel, as a share of the spectrum's extent.
_WIDTH = 0.01
_PLACES = 512
# The neighbourhood of the sharpness, as the source's default.
_RADIUS = 0.05


@dataclass(frozen=True)
class Curvature:
    """What was found of the Hessian of the mean loss over the samples.

    Attributes:
        eigenvalues: the largest ones, falling.
        smallest: the smallest eigenvalue of the Lanczos process: an upper bound of the true one.
        trace: Hutchinson's estimate, with its standard error.
        trace_error: of `trace`.
        places: where the density is given.
        density: of eigenvalues, with integral 1.
        sharpness: how much the loss rises at a distance of 0.05 along the gradient.
        loss: at the weights.
        gradient_norm: at the weights.
    """

    eigenvalues: np.ndarray
    smallest: float
    trace: float
    trace_error: float
    places: np.ndarray
    density: np.ndarray
    sharpness: float
    loss: float
    gradient_norm: float


class LossAt:
    """The mean loss of a network over samples, with its derivatives by the trained weights.

    Normalization uses its moving statistics and dropout is off, so that the loss is a function
    of the weights alone.

    Args:
        model: images as stored in, logits out.
        samples: of one split.
    """

    def __init__(self, model: keras.Model, samples: Samples):
        self._model = model
        self._samples = samples
        self._weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
        self._rest = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]
        self._sizes = [int(np.prod(w.shape)) for w in self._weights]
        self.size = sum(self._sizes)
        self.product = self._compiled(self._product)
        self._slope = self._compiled(self._gradient)

    def _compiled(self, function: Callable) -> Callable[[np.ndarray], np.ndarray]:
        traced = tf.function(function, input_signature=[tf.TensorSpec((self.size,), tf.float32)])
        return lambda vector: traced(tf.constant(vector, tf.float32)).numpy().astype(np.float64)

    def gradient(self, shift: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns loss and gradient at the weights plus a shift, (size,)."""
        together = self._slope(shift)
        return float(together[0]), together[1:]

    def _batch_loss(self, weights: list[tf.Tensor], index: tf.Tensor) -> tf.Tensor:
        images = tf.cast(self._samples.images[index], tf.float32)
        logits, _ = self._model.stateless_call(weights, self._rest, images, training=False)
        labels = self._samples.labels[index]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))
        return tf.reduce_mean(losses)

    def _over_batches(self, one: Callable[[tf.Tensor], tf.Tensor], size: int) -> tf.Tensor:
        count = self._samples.images.shape[0]
        _, total = tf.while_loop(
            lambda index, _: index < count,
            lambda index, total: (index + 1, total + one(index)),
            (tf.constant(0), tf.zeros(size)),
            parallel_iterations=1,
        )
        return total / count

    def _gradient(self, shift: tf.Tensor) -> tf.Tensor:
        weights = [w + d for w, d in zip(self._weights, self._split(shift), strict=True)]

        def one(index):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = self._batch_loss(weights, index)
            return tf.concat([[loss], self._flat(tape.gradient(loss, weights))], axis=0)

        return self._over_batches(one, self.size + 1)

    def _product(self, vector: tf.Tensor) -> tf.Tensor:
        """The Hessian times a vector, (size,)."""
        tangents = self._split(vector)

        def one(index):
            with tf.autodiff.ForwardAccumulator(self._weights, tangents) as forward:
                with tf.GradientTape() as tape:
                    tape.watch(self._weights)
                    loss = self._batch_loss(self._weights, index)
                gradient = tape.gradient(loss, self._weights)
            return self._flat([forward.jvp(part) for part in gradient])

        return self._over_batches(one, self.size)

    def _flat(self, parts: list[tf.Tensor | None]) -> tf.Tensor:
        return tf.concat(
            [
                tf.zeros(size) if part is None else tf.reshape(part, [-1])
                for part, size in zip(parts, self._sizes, strict=True)
            ],
            axis=0,
        )

    def _split(self, vector: tf.Tensor) -> list[tf.Tensor]:
        parts = tf.split(vector, self._sizes)
        return [tf.reshape(p, w.shape) for p, w in zip(parts, self._weights, strict=True)]


def lanczos(
    product: Callable[[np.ndarray], np.ndarray], size: int, *, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Ritz values, rising, and the weights of their Gauss quadrature.

    Fully reorthogonalised, so that no eigenvalue appears twice by rounding.

    Args:
        product: of a symmetric matrix with a vector.
        size: of the matrix.
        steps: products taken, at most `size`.
        rng: draws the first vector.
    """
    steps = min(steps, size)
    vector = rng.normal(size=size)
    basis = np.zeros((steps, size))
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    vector /= np.linalg.norm(vector)
    for step in range(steps):
        basis[step] = vector
        vector = product(vector)
        diagonal[step] = basis[step] @ vector
        for _ in range(2):  # once leaves what rounding brought in
            vector -= basis[: step + 1].T @ (basis[: step + 1] @ vector)
        beside[step] = np.linalg.norm(vector)
        if beside[step] < 1e-9 * max(1.0, np.abs(diagonal).max()):
            steps = step + 1  # an invariant space is complete
            break
        vector /= beside[step]
    matrix = np.diag(diagonal[:steps]) + np.diag(beside[: steps - 1], 1)
    values, vectors = np.linalg.eigh(matrix, UPLO="U")
    return values, vectors[0] ** 2


def measure_curvature(
    loss: LossAt, *, top: int = 5, steps: int = 40, probes: int = 8, seed: int = 0
) -> Iterator[Curvature | int]:
    """Yields the number of products done, and at last the curvature.

    Args:
        loss: of the network over the samples.
        top: eigenvalues to return.
        steps: of each Lanczos process.
        probes: random vectors of trace and density.
        seed: of all random vectors.
    """
    rng = np.random.default_rng(seed)
    done = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        return loss.product(vector)

    spectra, traces = [], []
    for _ in range(probes):
        signs = rng.choice([-1.0, 1.0], size=loss.size)
        traces.append(signs @ product(signs))
        spectra.append(lanczos(product, loss.size, steps=steps, rng=rng))
        yield done
    best = max(spectra, key=lambda spectrum: spectrum[0][-1])[0]
    smallest = min(float(values[0]) for values, _ in spectra)
    places, density = _density(spectra)
    at, gradient = loss.gradient(np.zeros(loss.size))
    norm = float(np.linalg.norm(gradient))
    beyond, _ = loss.gradient(_RADIUS * gradient / max(norm, 1e-12))
    yield Curvature(
        eigenvalues=best[::-1][:top],
        smallest=smallest,
        trace=float(np.mean(traces)),
        trace_error=float(np.std(traces, ddof=1) / np.sqrt(probes)) if probes > 1 else np.nan,
        places=places,
        density=density,
        sharpness=beyond - at,
        loss=at,
        gradient_norm=norm,
    )


def _density(spectra: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the probes' quadratures, each Ritz value widened to a normal law."""
    low = min(values[0] for values, _ in spectra)
    high = max(values[-1] for values, _ in spectra)
    extent = max(high - low, 1e-12)
    width = _WIDTH * extent
    places = np.linspace(low - 5 * width, high + 5 * width, _PLACES)
    density = np.zeros(_PLACES)
    for values, weights in spectra:
        kernels = np.exp(-0.5 * ((places[:, None] - values) / width) ** 2)
        density += kernels @ weights / (width * np.sqrt(2 * np.pi))
    return places, density / len(spectra)
