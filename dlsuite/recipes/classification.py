"""Recipes of image classification: one network, one label an image."""

from typing import Literal

from pydantic import Field

from dlsuite.recipes.schema import MONITOR, Fraction, Positive, Recipe, Section, Train

ENTRIES = [
    {
        "name": "classification",
        "function": "ClassificationRecipe",
        "carried_out_by": "dlsuite.tasks.classification:Classification",
        "evaluated_by": "dlsuite.analysis.evaluation:evaluate_classifier",
        "description": "one network, one label an image",
        "source": "the textbook problem",
    },
]


class Loss(Section):
    """What training minimises."""

    name: Literal["nll", "mse"] = Field(
        "nll", description="negative log-likelihood, or mean squared error of the probabilities"
    )
    label_smoothing: Fraction = Field(0.0, description="probability spread over all classes")
    class_weights: Literal["none", "balanced"] | list[Positive] = Field(
        "none", description="weight of each class, or inversely to its frequency in training"
    )


class ClassificationTrain(Train):
    """How the run is carried out."""

    monitor: str = Field("val_accuracy", description=MONITOR)


class ClassificationRecipe(Recipe):
    """A recipe of image classification."""

    task: Literal["classification"] = Field("classification", description="kind of problem")
    loss: Loss = Field(default_factory=Loss)
    train: ClassificationTrain = Field(default_factory=ClassificationTrain)
