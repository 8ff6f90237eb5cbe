"""Networks by name.

A builder is a function with the name users type. It takes the normalised image and returns
the named intermediate features, ``logits`` last, all of the functional API::

    def my_net(image, *, num_classes, width=64) -> dict[str, keras.KerasTensor]

Its module declares it in ``ENTRIES`` (see `dlsuite.registry`) with ``parameters``, the
trainable parameters for ``image_shape`` and ``num_classes``, written as arithmetic.
"""

from dlsuite.registry import Registry

MODELS = Registry("model", "dlsuite.models", reserved=("num_classes",))
