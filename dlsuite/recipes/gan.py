"""Recipes of generative adversarial networks."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dlsuite.recipes.schema import (
    MONITOR,
    Fraction,
    Model,
    Name,
    NonNegative,
    Optimizer,
    Positive,
    Recipe,
    Schedule,
    Section,
    Train,
)

# A run keeps it absolute, and finds the same file from any working folder.
Place = Annotated[str, Field(min_length=1), AfterValidator(lambda path: str(Path(path).absolute()))]

ENTRIES = [
    {
        "name": "gan",
        "function": "GanRecipe",
        "description": "a generator trained against a discriminator",
        "source": "Goodfellow et al. 2014, arXiv:1406.2661",
        "carried_out_by": "dlsuite.tasks.gan:Gan",
        "evaluated_by": "dlsuite.analysis.gan:evaluate_generator",
        "watched_by": "dlsuite.reports.gan:watch",
    },
]


class Gan(Section):
    """How the two networks play against each other."""

    loss: Literal["non_saturating", "least_squares", "hinge", "wasserstein"] = Field(
        "non_saturating",
        description="-log D (arXiv:1406.2661), squared error (arXiv:1611.04076), hinge "
        "(arXiv:1705.02894) or critic's difference (arXiv:1701.07875)",
    )
    critic_steps: Annotated[int, Field(ge=1)] = Field(
        1, description="discriminator's updates, each on a batch of its own, a generator's update"
    )
    label_flip: Fraction = Field(
        0.0, description="probability that the discriminator is told real for fake in a step"
    )
    label_smoothing: Fraction = Field(
        0.0, description="what the label of real images lacks to 1 (arXiv:1606.03498)"
    )
    gradient_penalty: NonNegative = Field(
        0.0,
        description="weight of (|grad D| - 1)^2 between real and fake images (arXiv:1704.00028)",
    )
    r1: NonNegative = Field(
        0.0, description="gamma of gamma/2 |grad D|^2 at real images (arXiv:1801.04406)"
    )
    spectral: NonNegative = Field(
        0.0,
        description="weight, for the generator, of the squared differences between fake and real "
        "images' log power spectra: mean and deviation over the batch",
    )
    translation: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0,
        description="largest random shift of all images that the discriminator sees, as a share "
        "of their side (arXiv:2006.10738)",
    )
    cutout: Fraction = Field(
        0.0, description="side, as a share of theirs, of a random square blotted out of them"
    )
    classifier: Place | None = Field(
        None,
        description="run or .keras file of a classifier of such images; validation then measures "
        "coverage of its classes, confidence and Frechet distance by it",
    )
    discriminator_learning_rate: Positive | None = Field(
        None, description="of the discriminator; unset takes optimizer.learning_rate"
    )


class Pixels(Section):
    """From stored values x to the network's s in -1 to 1; the generator's last layers invert it."""

    transform: Literal["range", "scale", "logarithm"] = Field(
        "range",
        description="range: the stored type's range to -1 to 1; scale: s = scale x; logarithm: "
        "s = scale ln(1 + x/shift)",
    )
    scale: Positive = Field(1.0, description="factor of scale and logarithm")
    shift: Positive = Field(1.0, description="of logarithm, in stored units; every x > -shift")


class GanModel(Model):
    """The two networks; further keys are their options (see `dlsuite models show NAME`)."""

    name: Name = Field("dcgan", description="a model of the task gan")


class GanOptimizer(Optimizer):
    """Both networks' optimizer; further keys are its options."""

    name: Name = Field("adam", description="a row of `dlsuite optimizers`")
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="keep a moving average of the generator's weights, and use that"
    )


class GanSchedule(Schedule):
    """The learning rates over training; further keys are the schedule's options."""

    name: Name = Field("constant", description="a schedule of `dlsuite optimizers`")


class GanTrain(Train):
    """How the run is carried out."""

    monitor: str = Field("val_distance", description=MONITOR)


class GanRecipe(Recipe):
    """A recipe of a generative adversarial network."""

    task: Literal["gan"] = Field("gan", description="kind of problem")
    model: GanModel = Field(default_factory=GanModel)
    gan: Gan = Field(default_factory=Gan)
    pixels: Pixels = Field(default_factory=Pixels)
    optimizer: GanOptimizer = Field(default_factory=GanOptimizer)
    schedule: GanSchedule = Field(default_factory=GanSchedule)
    train: GanTrain = Field(default_factory=GanTrain)
