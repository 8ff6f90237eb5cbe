"""Prints what two steps of weight decay alone leave of weights of 1 on two virtual devices.

The second step follows a reduction by the plateau schedule.
"""

import json

from dlsuite.runtime import prepare

prepare()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from dlsuite.optimizers.build import build_optimizer, schedule_callbacks  # noqa: E402
from dlsuite.recipes import schema  # noqa: E402

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
schedule = schema.Schedule(name="plateau", patience=1)


def left(name: str) -> dict[str, list[float]]:
    """The first element of each variable after each of the two steps, by the variable's name."""
    with strategy.scope():
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(3, kernel_initializer="ones", bias_initializer="ones"),
                layers.BatchNormalization(beta_initializer="ones"),
            ]
        )
        optimizer = build_optimizer(
            schema.Optimizer(name=name, learning_rate=0.5, weight_decay=0.1),
            schedule,
            steps_per_epoch=2,
            epochs=2,
        )
        model.compile(optimizer, "mse")
        optimizer.build(model.trainable_variables)
    (callback,) = schedule_callbacks(schedule, "val_loss", [optimizer])
    variables = model.trainable_variables

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply([tf.zeros(v.shape) for v in variables]))

    values = {variable.name: [] for variable in variables}
    for epoch in range(2):
        step()
        for variable in variables:
            values[variable.name].append(float(variable.numpy().flat[0]))
        # the first epoch sets the best value, the same value again is no improvement
        callback.on_epoch_end(epoch, {"val_loss": 1.0})
        callback.on_epoch_end(epoch, {"val_loss": 1.0})
    return values


print(json.dumps({name: left(name) for name in ("momentum", "adamw", "muon")}))
