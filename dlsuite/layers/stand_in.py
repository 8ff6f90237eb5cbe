"""What makes a layer stand in for one of Keras's: files and copies of it hold Keras's own."""

from typing import Any

import keras


class StandIn:
    """Goes before the layer of `keras.layers` whose name the class takes.

    A model is saved with Keras's own class in this one's place, so that the file opens where
    dlsuite is not installed; pickling and `copy.deepcopy` give Keras's own, as a file does.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # What Keras writes into a saved file. It resolves "keras.*" through its public names.
        cls.__module__ = "keras.layers"

    def __reduce__(self):
        # The class that the name above stands for, or pickle finds two classes of one name.
        _, arguments = super().__reduce__()
        return getattr(keras.layers, type(self).__name__)._unpickle_model, arguments
