"""Inference images/s of dlsuite, stock Keras ``predict`` and PyTorch, paired.

    python benchmarks/inference_speed.py                     # all networks, about half an hour
    python benchmarks/inference_speed.py --nets mlp --rounds 5 --generations 1

Images lie in memory as uint8 and go through the network in batches of 128; the logits come back
as an array. dlsuite goes the way of ``Run.predict`` and ``Run.evaluate``; stock Keras is
``model.predict`` on the same network of Keras's own layers; PyTorch runs under ``inference_mode``
in the channels_last format. Columns as in training_speed.py.
"""

import numpy as np
from contestants import BATCH, begin, examples_of, keras_model, put, stock_model, torch_model
from training_speed import compare


def predictor(library: str, net: str, *, threads: int, device: str = "cpu"):
    """Returns a function that predicts all images so many times and returns their number."""
    images, _ = examples_of(net)
    images = np.concatenate([images] * max(1, 4 * BATCH // len(images)))
    predict = {"dlsuite": dlsuite_logits, "keras": keras_logits}.get(library, torch_logits)(
        library, net, threads, device
    )

    def work(count):
        for _ in range(count):
            predict(images)
        return count * len(images)

    return work


def dlsuite_logits(library, net, threads, device):
    begin(threads, device)
    from dlsuite.analysis.inference import Forward

    forward = Forward(keras_model(net), BATCH)

    def predict(images):
        return np.concatenate(
            [forward(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        )

    return predict


def keras_logits(library, net, threads, device):
    begin(threads, device)
    model = stock_model(net)
    return lambda images: model.predict(images, batch_size=BATCH, verbose=0)


def torch_logits(library, net, threads, device):
    import torch

    model, run, place = torch_model(net, threads, device, compiled=library == "torch-compiled")
    model.eval()

    def predict(images):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        with torch.inference_mode():
            batches = (pixels[start : start + BATCH] for start in range(0, len(images), BATCH))
            logits = [run((put(batch, place).float() - 127.5) / 73.9) for batch in batches]
            return torch.cat(logits).cpu().numpy()

    return predict


if __name__ == "__main__":
    compare(__file__, predictor, about=__doc__)
