"""The weights of a layer as pictures."""

from dataclasses import dataclass

import numpy as np

from dlsuite.analysis.neurons.anatomy import NeuronLayer, kernel_of
from dlsuite.errors import DlsuiteError

_DEAD = 1e-3
_DUPLICATE = 0.98
_SPECTRUM_SIDE = 32


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a layer's U units over D input channels.

    Attributes:
        layer: name of the layer.
        weights: shape (U, h, w, D), float32; those of a dense layer behind a Flatten have the
            maps' height and width, on vectors 1 x 1; a maxout unit's pieces are further channels.
        norms: Euclidean norm of each, shape (U,).
        order: units by norm, largest first, shape (U,).
        is_dead: norm below a thousandth of the largest, shape (U,).
        duplicate_of: the first unit of lower number with a cosine above 0.98 to this one, or
            -1, shape (U,).
        coherence: how oriented each is, from 0 to 1, shape (U,); NaN for a 1 x 1 kernel.
        spectrum: power at each spatial frequency, the mean over input channels, zero frequency
            in the middle, relative to its maximum, shape (U, 32, 32).
        change: relative distance from the initial kernels, |w - w0| / |w0|, shape (U,); None
            where these are not known.
    """

    layer: str
    weights: np.ndarray
    norms: np.ndarray
    order: np.ndarray
    is_dead: np.ndarray
    duplicate_of: np.ndarray
    coherence: np.ndarray
    spectrum: np.ndarray
    change: np.ndarray | None


def kernels(layer: NeuronLayer, *, initial: np.ndarray | None = None) -> Kernels:
    """Returns the kernels of a layer, with their norms, spectra and orientation.

    Args:
        layer: with weights.
        initial: its weights before training, as the layer holds them.

    Raises:
        DlsuiteError: the layer has no kernel.
    """
    weights = unit_weights(layer)
    flat = weights.reshape(len(weights), -1)
    norms = np.linalg.norm(flat, axis=1)
    is_dead = norms <= _DEAD * norms.max(initial=0)
    change = None
    if initial is not None:
        before = _by_unit(initial, layer).reshape(flat.shape)
        with np.errstate(divide="ignore", invalid="ignore"):  # a filter that began as zeros
            change = np.linalg.norm(flat - before, axis=1) / np.linalg.norm(before, axis=1)
    spectrum = _power(weights)
    peak = spectrum.max(axis=(1, 2), keepdims=True)
    return Kernels(
        layer=layer.name,
        weights=weights,
        norms=norms,
        order=np.argsort(-norms, kind="stable"),
        is_dead=is_dead,
        duplicate_of=_duplicates(flat, norms, is_dead),
        coherence=coherence(weights),
        spectrum=spectrum / np.where(peak > 0, peak, 1),
        change=change,
    )


def unit_weights(layer: NeuronLayer) -> np.ndarray:
    """Returns each unit's weights on its input, shape (U, h, w, D), float32.

    Raises:
        DlsuiteError: the layer has no kernel.
    """
    variable = None if layer.weighted is None else kernel_of(layer.weighted.layer)
    if variable is None:
        raise DlsuiteError(
            f"Only convolutions and dense layers have kernels. Received: {layer.name!r}, which is "
            f"a {layer.place.kind}. Choose a layer with weights of --list."
        )
    return _by_unit(variable.numpy(), layer)


def _by_unit(kernel: np.ndarray, layer: NeuronLayer) -> np.ndarray:
    kind, num_units = layer.weighted.kind, layer.weighted.num_units
    kernel = kernel.astype(np.float32)
    if "Depthwise" in kind:
        # (h, w, D, multiplier): unit d * multiplier + m sees input channel d alone
        return np.moveaxis(kernel.reshape(*kernel.shape[:2], -1, 1), 2, 0)
    if "Transpose" in kind:
        return np.moveaxis(kernel, -2, 0)  # (h, w, U, D)
    if kernel.ndim == 2:
        seen = layer.flattened or (1, 1, len(kernel))
        pieces = kernel.T.reshape(num_units, -1, *seen)  # of a maxout several a unit: channels
        return np.moveaxis(pieces, 1, -1).reshape(num_units, *seen[:2], -1)
    if kernel.ndim == 3:
        kernel = kernel[:, None]  # a convolution along one axis
    if kernel.shape[-1] != num_units:
        # a layer with several kernels a unit
        kernel = kernel.reshape(*kernel.shape[:-1], -1)
    return np.moveaxis(kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1]), -1, 0)


def coherence(pictures: np.ndarray) -> np.ndarray:
    """Returns how oriented pictures are, from 0 (no direction) to 1 (one direction).

    The structure tensor J, the sum of g g^T over the picture's gradients g, has eigenvalues
    a >= b; the coherence is (a - b) / (a + b): 1 for a straight edge or grating and 0 for a round
    spot. Channels add.

    Shapes:
        pictures: (N, h, w, C).
        returns: (N,), NaN for pictures of one pixel or one value.

    Source: Bigun and Granlund 1987, "Optimal orientation detection of linear symmetry", ICCV.
    """
    if min(pictures.shape[1:3]) < 2:
        return np.full(len(pictures), np.nan)
    gy, gx = np.gradient(pictures.astype(np.float64), axis=(1, 2))
    jyy, jxx, jxy = (np.sum(product, axis=(1, 2, 3)) for product in (gy * gy, gx * gx, gy * gx))
    total = jyy + jxx
    with np.errstate(invalid="ignore"):  # 0/0 where there is no contrast
        value = np.sqrt((jyy - jxx) ** 2 + 4 * jxy**2) / total
    return np.where(total > 0, value, np.nan)


def _power(weights: np.ndarray) -> np.ndarray:
    found = np.empty((len(weights), _SPECTRUM_SIDE, _SPECTRUM_SIDE), np.float32)
    if max(weights.shape[1:3]) == 1:
        found[:] = np.mean(weights**2, axis=(1, 2, 3))[:, None, None]
        return found
    for unit, kernel in enumerate(weights):  # one at a time: deep layers have many channels
        side = [min(size, _SPECTRUM_SIDE) for size in kernel.shape[:2]]
        transform = np.fft.fft2(kernel[: side[0], : side[1]], (_SPECTRUM_SIDE,) * 2, axes=(0, 1))
        found[unit] = np.fft.fftshift(np.mean(np.abs(transform) ** 2, axis=-1))
    return found


def _duplicates(flat: np.ndarray, norms: np.ndarray, is_dead: np.ndarray) -> np.ndarray:
    unit = flat / np.where(norms > 0, norms, 1)[:, None]
    found = np.full(len(flat), -1)
    if flat.shape[1] == 1:
        return found  # single numbers all point the same way
    cosine = unit @ unit.T
    for later in range(1, len(flat)):
        same = np.flatnonzero((cosine[later, :later] > _DUPLICATE) & ~is_dead[:later])
        if len(same) and not is_dead[later]:
            found[later] = same[0]
    return found
