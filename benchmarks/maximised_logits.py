"""Whether a network knows its maximised classes after transforms that made none of them.

    python benchmarks/maximised_logits.py MODEL.keras --preprocessing torch --units 1,9,130

maximises the units of the last layer and prints the probability of each one's own class for the
picture as it is, after JPEG of quality 60, after a Gaussian blur of 1 pixel, after a way down to
96 pixels and back, and after all three; and the exponent of the pictures' power spectrum beside
that of photographs. While they are optimised, pictures are rotated, magnified and shifted only.
"""

import argparse
import io

import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_images

from dlsuite.analysis.neurons.anatomy import choose_units
from dlsuite.analysis.neurons.attribution import Explained
from dlsuite.analysis.neurons.colour import spectrum_slope
from dlsuite.analysis.neurons.maximisation import maximise
from dlsuite.analysis.neurons.pictures import eight_bits
from dlsuite.visualize.opening import open_study
from dlsuite.visualize.study import Options


def jpeg(picture: Image.Image) -> Image.Image:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=60)
    return Image.open(held)


def blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(1))


def down_and_back(picture: Image.Image) -> Image.Image:
    small = picture.resize((96, 96), Image.Resampling.BILINEAR)
    return small.resize(picture.size, Image.Resampling.BILINEAR)


TRANSFORMS = {
    "as it is": lambda picture: picture,
    "JPEG of quality 60": jpeg,
    "blurred by 1 px": blurred,
    "to 96 px and back": down_and_back,
    "all three": lambda picture: down_and_back(blurred(jpeg(picture))),
}


def photographs(size: int) -> np.ndarray:
    """The photographs that scikit-learn and scikit-image ship, their middle square."""
    found = list(load_sample_images().images)
    try:
        from skimage import data

        found += [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    except ImportError:
        print("scikit-image is not installed: two photographs only")
    squares = []
    for image in found:
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        square = Image.fromarray(image[top : top + side, left : left + side])
        squares.append(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(squares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--preprocessing", default=None)
    parser.add_argument("--units", default="0-9")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    study = open_study(arguments.model, options=Options(), preprocessing=arguments.preprocessing)
    layer = study.anatomy.head
    units = choose_units(arguments.units, layer)
    made = maximise(
        study.subject,
        layer,
        units,
        size=arguments.size,
        steps=arguments.steps,
        seed=arguments.seed,
    )
    pictures = [Image.fromarray(one) for one in eight_bits(made.inputs, study.subject.value_range)]
    explained = Explained(study.anatomy)
    for name, transform in TRANSFORMS.items():
        changed = np.stack([np.asarray(transform(one)) for one in pictures])
        own = explained.probabilities(changed)[np.arange(len(units)), units]
        known = int((own > 0.9).sum())
        print(f"{name}: {known} of {len(units)} above 90 %, the least {own.min():.4f}")
    slopes = [spectrum_slope(one[None]) for one in photographs(arguments.size)]
    print(f"power spectrum of the pictures f^{spectrum_slope(made.inputs):.2f}")
    print(f"of photographs f^{np.mean(slopes):.2f} ({min(slopes):.2f} to {max(slopes):.2f})")


if __name__ == "__main__":
    main()
