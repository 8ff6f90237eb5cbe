"""Mean and standard deviation of images, a channel."""

import numpy as np

from dlsuite.data.dataset import Split


def channel_statistics(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation a channel, in units of the stored images.

    Accumulated in float64 a chunk at a time by the update of Chan, Golub and LeVeque (1979),
    which doesn't subtract large sums from each other:
    M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / n.

    Shapes:
        mean, std: (C,), float64. The deviation is that of the population (division by N).
    """
    count, mean, squares = 0, 0.0, 0.0
    for positions in split.passes():
        pixels = split.read(positions)
        pixels = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
        chunk_mean = pixels.mean(axis=0)
        chunk_squares = ((pixels - chunk_mean) ** 2).sum(axis=0)
        total = count + len(pixels)
        shift = chunk_mean - mean
        squares = squares + chunk_squares + shift**2 * (count * len(pixels) / total)
        mean = mean + shift * (len(pixels) / total)
        count = total
    return mean, np.sqrt(squares / count)
