"""All variables of a run, taken and put back."""

import keras
import numpy as np
import pytest

from dlsuite.engine.state import State
from dlsuite.errors import DlsuiteError


def test_two_optimizers_are_saved_and_restored():
    def network():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one")])
        optimizers = [
            keras.optimizers.Adam(0.1, name="a"),
            keras.optimizers.SGD(0.1, 0.9, name="b"),
        ]
        for optimizer in optimizers:
            optimizer.build(model.trainable_variables)
        return model, optimizers

    model, optimizers = network()
    state = State(model, optimizers)
    before = state.snapshot()
    gradients = [np.ones(variable.shape, "float32") for variable in model.trainable_variables]
    for optimizer in optimizers:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients])
    after = state.snapshot()
    changed = {name for name in before if not (before[name].numpy() == after[name].numpy()).all()}
    # kernel and bias, Adam's iteration and four slots, SGD's iteration and two
    assert len(changed) == 2 + (1 + 4) + (1 + 2)
    state.restore({name: value.numpy() for name, value in before.items()})
    for name, value in state.snapshot().items():
        assert (value.numpy() == before[name].numpy()).all()
    other = State(model, optimizers[:1])
    with pytest.raises(DlsuiteError, match="the run that wrote it"):
        other.restore({name: value.numpy() for name, value in before.items()})
