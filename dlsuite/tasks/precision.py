"""The precision that networks are built in."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from dlsuite.environment import is_emulated
from dlsuite.runtime import hear_of_emulation

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Within it, layers compute in a recipe's precision; weights are float32 in all of them."""
    if is_emulated(precision):
        hear_of_emulation(precision)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
