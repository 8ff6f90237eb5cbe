"""Class activation maps: which places of a layer's maps speak for a class."""

import numpy as np

from dlsuite.analysis.neurons.anatomy import NeuronLayer
from dlsuite.analysis.neurons.attribution import Explained, upsampled


def grad_cam(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    layer: NeuronLayer | None = None,
) -> np.ndarray:
    """Returns ReLU(sum_k w_k A_k), w_k the mean of dS/dA_k over the map, (B, H, W).

    A are the activations of the layer, by default the last with maps; what is returned has the
    size of the images.

    Raises:
        DlsuiteError: the layer has no maps.

    Source: Selvaraju et al. 2016, arXiv:1610.02391, eqs. 1 and 2.
    """
    activations, gradients = _at(explained, images, targets, layer)
    weights = gradients.mean(axis=(1, 2))
    return _shown(np.einsum("bhwk,bk->bhw", activations, weights), images)


def grad_cam_plus_plus(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    layer: NeuronLayer | None = None,
) -> np.ndarray:
    """Returns ReLU(sum_k w_k A_k), w_k = sum of alpha_k ReLU(dS/dA_k) over the map, (B, H, W).

    alpha = g^2 / (2 g^2 + g^3 sum A), for the score's exponential as the source has it.

    Raises:
        DlsuiteError: the layer has no maps.

    Source: Chattopadhay et al. 2017, arXiv:1710.11063, eqs. 10 and 19.
    """
    activations, gradients = _at(explained, images, targets, layer)
    total = activations.sum(axis=(1, 2), keepdims=True)
    below = 2 * gradients**2 + gradients**3 * total
    safe = np.where(np.abs(below) > 1e-12, below, 1)
    alpha = np.where(np.abs(below) > 1e-12, gradients**2 / safe, 0)
    weights = np.sum(alpha * np.maximum(gradients, 0), axis=(1, 2))
    return _shown(np.einsum("bhwk,bk->bhw", activations, weights), images)


def layer_cam(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    layer: NeuronLayer | None = None,
) -> np.ndarray:
    """Returns ReLU(sum_k ReLU(dS/dA_k) A_k), each place with its own weight, (B, H, W).

    Raises:
        DlsuiteError: the layer has no maps.

    Source: Jiang et al. 2021, IEEE Transactions on Image Processing 30, 5875, eqs. 5 to 7.
    """
    activations, gradients = _at(explained, images, targets, layer)
    return _shown(np.sum(np.maximum(gradients, 0) * activations, axis=-1), images)


def score_cam(
    explained: Explained,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    layer: NeuronLayer | None = None,
) -> np.ndarray:
    """Returns ReLU(sum_k w_k A_k), w the softmax of the scores of the images under each map.

    Map k, brought to 0..1 and to the image's size, multiplies the image above black; its score
    is counted from that of the black image. It needs no gradient, but a forward pass a channel.

    Raises:
        DlsuiteError: the layer has no maps.

    Source: Wang et al. 2019, arXiv:1910.01279, eqs. 5 to 8.
    """
    activations, _ = _at(explained, images, targets, layer)
    low = explained.subject.value_range[0]
    size = images.shape[1:3]
    found = []
    for image, maps, target in zip(images.astype(np.float32), activations, targets, strict=True):
        maps = np.moveaxis(maps, -1, 0)  # (K, h, w)
        least, most = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
        alive = np.flatnonzero(most > least)  # a flat map selects nothing
        black = explained.outputs(np.full_like(image, low)[None])[0, target]
        scores = []
        for start in range(0, len(alive), explained.batch_size):
            chosen = alive[start : start + explained.batch_size]
            span = (most - least)[chosen, None, None]
            masks = upsampled((maps[chosen] - least[chosen, None, None]) / span, size)
            masked = low + (image - low)[None] * masks[..., None]
            scores.append(explained.outputs(masked)[:, target] - black)
        scores = np.concatenate(scores) if scores else np.zeros(0)
        weights = np.exp(scores - scores.max(initial=-np.inf))
        weights /= weights.sum() if len(weights) else 1
        found.append(np.einsum("khw,k->hw", maps[alive], weights))
    return _shown(np.stack(found), images)


def _at(
    explained: Explained, images: np.ndarray, targets: np.ndarray, layer: NeuronLayer | None
) -> tuple[np.ndarray, np.ndarray]:
    layer = layer or explained.last_maps()
    explained.check_maps(layer)
    return explained.at_layer(images, targets, layer.place)


def _shown(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    return upsampled(np.maximum(maps, 0), images.shape[1:3])
