"""The tables that recipes of every task have: each setting's type, range, default and meaning.

A recipe holds names and numbers, never import paths, so loading one executes nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

# A name is what a registry knows, or a reader's prefix and a path ("folder:PATH").
Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

# Each task monitors another metric unless told otherwise, by a `train` table of its own.
MONITOR = "what decides the best model and early stopping"
# The endings of metrics that are to fall; all others are to rise.
_FALLING = ("loss", "distance", "_ks")


def is_falling(metric: str) -> bool:
    """Returns whether a metric is the better the smaller it is, as its name's ending says."""
    return metric.endswith(_FALLING)


class Section(BaseModel):
    """A table of a recipe. Frozen; unknown keys and implicit conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OptionSection(Section):
    """A table whose further keys are options of the thing it names.

    They are checked against that thing's own arguments, not here.
    """

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.__pydantic_extra__ or {})


class About(Section):
    """What a recipe is for. Changes nothing in a run."""

    description: str = Field("", description="one line")
    source: str = Field("", description="paper, table or page that the recipe follows")
    command: str = Field("", description="the command that repeats the expected result")
    expected: str = Field("", description="the result to expect, with its spread")
    evidence: Literal["", "measured", "paper", "untested"] = Field(
        "", description="whether the expected result was measured with dlsuite or is the paper's"
    )


class Augment(Section):
    """Random changes of a training image, drawn anew each epoch; 0 is off.

    Parameters are drawn per example as a function of (seed, epoch, example).
    """

    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        "none", description="mirror with probability 1/2 along each named axis"
    )
    crop_padding: Annotated[int, Field(ge=0)] = Field(
        0, description="pad each side by this many pixels and crop back at a random place"
    )
    resized_crop: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="smallest area, as a fraction, of a random crop resized to the image"
    )
    translation: Fraction = Field(0.0, description="largest shift, as a fraction of the side")
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0, description="largest rotation either way [degrees]"
    )
    zoom: Fraction = Field(0.0, description="largest relative change of scale, per axis pair")
    fill: Literal["constant", "nearest", "reflect"] = Field(
        "constant", description="what lies outside the image; constant is 0"
    )
    brightness: Fraction = Field(0.0, description="largest shift, as a fraction of the range")
    contrast: Fraction = Field(0.0, description="largest relative change of contrast")
    saturation: Fraction = Field(0.0, description="largest relative change of saturation (RGB)")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="largest shift of hue, as a fraction of the circle (RGB)"
    )
    rand_augment: Annotated[int, Field(ge=0)] = Field(
        0, description="number of RandAugment operations per image (arXiv:1909.13719)"
    )
    rand_augment_magnitude: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="RandAugment's strength, 1 being Keras's largest"
    )
    random_erasing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="probability of blanking a random rectangle (arXiv:1708.04896)"
    )
    mixup: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0, description="alpha of the Beta distribution of mixup (arXiv:1710.09412)"
    )
    cutmix: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0, description="alpha of the Beta distribution of cutmix (arXiv:1905.04899)"
    )

    @field_validator("cutmix")
    @classmethod
    def _one_mixing(cls, cutmix: float, info: ValidationInfo) -> float:
        if cutmix and info.data.get("mixup"):
            raise ValueError("mixup and cutmix exclude each other: set one of them to 0")
        return cutmix


class Data(Section):
    """The dataset and what happens to it before the network."""

    name: Name = Field(
        "mnist_5k", description="a dataset, or folder:, idx:, npz:, npy:, h5:, csv:PATH"
    )
    image_size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="resize images to a square of this side; unset keeps their own size"
    )
    channels: Literal[1, 3] | None = Field(
        None, description="convert image files to grey (1) or RGB (3); unset keeps their own"
    )
    validation: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1,
        description="examples, or fraction, cut by class from training where the dataset has no "
        "validation split of its own",
    )
    train_limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="use only this many training examples, drawn by class"
    )
    normalize: Literal["standardize", "unit", "imagenet", "none"] = Field(
        "standardize",
        description="first layer of the network: training mean 0 and deviation 1 a channel; "
        "range 0 to 1; ImageNet's mean and deviation; or nothing",
    )
    corrupt: Literal["error", "skip"] = Field(
        "error", description="what an unreadable image file does: end the run, or be counted"
    )
    memory_gb: NonNegative = Field(
        2.0,
        description="hold decoded splits in memory up to this many gigabytes; while a validation "
        "split is cut they are there twice",
    )
    augment: Augment = Field(default_factory=Augment, description="random changes in training")


class Model(OptionSection):
    """The network; further keys are its options (see `dlsuite models show NAME`)."""

    name: Name = Field(
        "mnist_cnn", description="a model, keras:NAME of keras.applications, or a .keras file"
    )


class Optimizer(OptionSection):
    """The optimizer; further keys are its options (see `dlsuite optimizers show NAME`)."""

    name: Name = Field("adamw", description="a row of `dlsuite optimizers`")
    learning_rate: Positive | None = Field(
        None, description="peak learning rate; unset takes the optimizer's own default"
    )
    weight_decay: NonNegative | None = Field(
        None, description="lambda, on kernels only; unset takes the optimizer's own default"
    )
    clip_norm: Positive | None = Field(None, description="largest norm of each gradient tensor")
    clip_global_norm: Positive | None = Field(
        None, description="largest norm of all gradients together"
    )
    clip_value: Positive | None = Field(None, description="largest magnitude of an element")
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="keep a moving average of the weights; evaluation and the model use it"
    )
    accumulate: Annotated[int, Field(ge=1)] = Field(
        1, description="training steps an update, with the mean of their gradients"
    )


class Schedule(OptionSection):
    """The learning rate over training; further keys are the schedule's options."""

    name: Name = Field("cosine", description="a schedule of `dlsuite optimizers`")
    warmup_epochs: NonNegative = Field(0.0, description="epochs of linear rise from 0")


class Train(Section):
    """How the run is carried out."""

    epochs: Annotated[int, Field(ge=1)] = Field(15, description="passes over the training split")
    batch_size: Annotated[int, Field(ge=1)] = Field(128, description="examples a step")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="of weights, order, augmentation and dropout"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="type of the arithmetic; weights stay float32"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|gpu(:\d+)?)$")] = Field(
        "auto", description="auto, cpu, gpu or gpu:N; auto takes the first GPU if there is one"
    )
    devices: Annotated[int, Field(ge=1)] = Field(
        1, description="devices of a machine that share a batch, from the first on"
    )
    synchronize_statistics: bool = Field(
        False,
        description="batch normalization over the whole batch instead of each replica's part",
    )
    xla: Literal["rule", "auto", "on", "off"] = Field(
        "rule",
        description="compile with XLA: by the rule, on one GPU, or on one CPU where nothing "
        "convolves; auto measures both ways first",
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="threads an operation may use; part of what makes a run repeatable"
    )
    deterministic: bool = Field(
        False,
        description="a GPU repeats its numbers bit for bit, as a CPU always does; may be slower",
    )
    steps_per_call: Annotated[int, Field(ge=1)] = Field(
        32, description="training steps a compiled call; changes no number"
    )
    log_every: Annotated[int, Field(ge=1)] = Field(10, description="steps a row of metrics.jsonl")
    checkpoint_minutes: Positive = Field(
        10.0, description="minutes between checkpoints within an epoch; each epoch ends with one"
    )
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="steps between checkpoints within an epoch"
    )
    not_finite: Literal["stop", "skip"] = Field(
        "stop",
        description="what a step does whose loss, gradients or weights are not finite: end the "
        "run, or be left out and counted",
    )
    trajectory: bool = Field(
        False, description="keep the weights of each epoch, for `dlsuite loss-landscape`"
    )
    monitor: str = Field("val_loss", description=MONITOR)
    early_stopping: Annotated[int, Field(ge=0)] = Field(
        0, description="epochs without improvement before the run stops; 0 never stops it"
    )


class Recipe(Section):
    """A whole recipe, resolved: every value present, nothing left to be decided later.

    These are the tables of every task. A task is a subclass, in a module of the task's name in
    this package, that names itself as the literal type of `task` and adds its own tables.
    """

    task: str = Field(description="kind of problem")
    about: About = Field(default_factory=About)
    data: Data = Field(default_factory=Data)
    model: Model = Field(default_factory=Model)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    train: Train = Field(default_factory=Train)


def sections_of(model: type[Section], prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yields (dotted key, section class) of every table of a recipe, the top one under ''."""
    yield prefix.rstrip("."), model
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from sections_of(info.annotation, f"{prefix}{name}.")
