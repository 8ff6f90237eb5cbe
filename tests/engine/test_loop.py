"""The loop against stock Keras, against itself, and against arithmetic by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlsuite.engine.loop import Block, Loop, Progress

BATCH, STEPS = 8, 5


@pytest.fixture(scope="module")
def arrays():
    random = np.random.default_rng(0)
    images = random.normal(size=(BATCH * STEPS, 6)).astype("float32")
    labels = np.eye(3, dtype="float32")[random.integers(0, 3, BATCH * STEPS)]
    return images, labels


def batches(arrays, *, repeat=True):
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH, drop_remainder=True)
    return data.repeat() if repeat else data


def small_model(learning_rate=0.1):
    initial = keras.initializers.GlorotUniform
    image = keras.Input((6,))
    hidden = keras.layers.Dense(8, "tanh", kernel_initializer=initial(seed=1))(image)
    logits = keras.layers.Dense(3, kernel_initializer=initial(seed=2))(hidden)
    model = keras.Model(image, logits)
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    return model


def run(model, arrays, *, epochs=2, use_xla=False, steps_per_call=32, **options):
    loop = Loop(model, steps_per_call=steps_per_call, use_xla=use_xla)
    progress = Progress()
    events = list(
        loop.train(
            batches(arrays), steps_per_epoch=STEPS, epochs=epochs, progress=progress, **options
        )
    )
    return progress, [event for event in events if isinstance(event, Block)]


def weights(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])


def test_it_trains_as_stock_fit_does(arrays):
    ours, stock = small_model(), small_model()
    progress, _ = run(ours, arrays)
    history = stock.fit(batches(arrays), steps_per_epoch=STEPS, epochs=2, verbose=0).history
    # the same operations, but fit may order a reduction differently: a few float32 roundings
    np.testing.assert_allclose(weights(ours), weights(stock), rtol=0, atol=1e-6)
    losses = [row["loss"] for row in progress.history]
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-5)


def test_steps_per_call_changes_no_bit(arrays):
    one, many = small_model(), small_model()
    _, single = run(one, arrays, steps_per_call=1)
    _, blocks = run(many, arrays, steps_per_call=32)
    assert len(single) == 2 * STEPS > len(blocks)
    assert (weights(one) == weights(many)).all()
    for name in ("loss", "accuracy"):
        by_step = [
            np.concatenate([block.metrics[name] for block in run]) for run in (single, blocks)
        ]
        assert (by_step[0] == by_step[1]).all()


def test_metrics_are_running_means_since_the_epoch_began(arrays):
    model = small_model(learning_rate=0.0)  # weights stand still: each loss can be recomputed
    _, blocks = run(model, arrays, epochs=2)
    images, labels = arrays
    log_p = tf.nn.log_softmax(model(images)).numpy()
    losses = -(labels * log_p).sum(axis=1).reshape(STEPS, BATCH).mean(axis=1)
    expected = np.cumsum(losses) / np.arange(1, STEPS + 1)
    by_step = np.concatenate([block.metrics["loss"] for block in blocks])
    # float32 sums of 40 terms
    np.testing.assert_allclose(by_step, np.tile(expected, 2), rtol=1e-5)


def test_evaluation_weighs_each_example_once(arrays):
    model = small_model()
    images, labels = (array[:11] for array in arrays)  # 11 examples in batches of 8
    weight = np.float32(16 / 11)
    padded = np.concatenate([np.arange(11), np.full(5, 8)])
    data = tf.data.Dataset.from_tensor_slices(
        (images[padded], labels[padded], np.where(np.arange(16) < 11, weight, 0))
    ).batch(BATCH)
    results = Loop(model).evaluate(data)
    log_p = tf.nn.log_softmax(model(images)).numpy()
    np.testing.assert_allclose(results["loss"], -(labels * log_p).sum() / 11, rtol=1e-5)
    hits = (log_p.argmax(1) == labels.argmax(1)).mean()
    np.testing.assert_allclose(results["accuracy"], hits, rtol=1e-6)


def test_validation_follows_each_epoch_and_leaves_training_alone(arrays):
    plain, validated = small_model(), small_model()
    run(plain, arrays)
    progress, _ = run(validated, arrays, validation=batches(arrays, repeat=False))
    assert (weights(plain) == weights(validated)).all()
    assert [set(row) for row in progress.history] == [
        {"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy"}
    ] * 2


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, int(self.model.optimizer.iterations)))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))


def test_batch_hooks_fire_once_a_block_with_the_true_step(arrays):
    recorder = Recorder()
    run(small_model(), arrays, epochs=1, callbacks=[recorder])
    assert recorder.seen[-1] == ("epoch", 0)
    assert all(batch + 1 == iterations for batch, iterations in recorder.seen[:-1])
    assert recorder.seen[-2] == (STEPS - 1, STEPS)


def test_a_callback_may_ask_for_every_step(arrays):
    recorder = Recorder()
    recorder.every_step = True
    run(small_model(), arrays, epochs=1, callbacks=[recorder])
    assert [batch for batch, _ in recorder.seen[:-1]] == list(range(STEPS))


def test_keras_callbacks_stop_and_change_the_learning_rate(arrays):
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch == 0 else 0.0)
    model = small_model()
    run(model, arrays, epochs=1)
    after_one = weights(model)
    model = small_model()
    # momentum's velocity is scaled by the rate of its own step, so clear it with momentum 0
    model.optimizer.momentum = 0.0
    plain = small_model()
    plain.optimizer.momentum = 0.0
    run(plain, arrays, epochs=1)
    run(model, arrays, epochs=3, callbacks=[schedule])
    assert (weights(model) == weights(plain)).all()
    assert not (weights(model) == after_one).all()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    progress, _ = run(small_model(), arrays, epochs=9, callbacks=[Stop()])
    assert progress.epoch == 2


def test_a_loss_that_is_no_number_ends_the_run(arrays):
    images, labels = arrays
    spoilt = images.copy()
    spoilt[BATCH * 2] = np.nan
    progress, _ = run(small_model(), (spoilt, labels), epochs=4)
    assert progress.diverged_at == 3  # the spoilt example lies in the third batch
    assert progress.epoch == 0


def test_xla_agrees_to_rounding(arrays):
    plain, compiled = small_model(), small_model()
    run(plain, arrays)
    run(compiled, arrays, use_xla=True)
    # ten steps of fused arithmetic: float32 roundings, not more
    np.testing.assert_allclose(weights(plain), weights(compiled), rtol=0, atol=1e-5)


class TwoNetworks(keras.Model):
    """Two optimizers in one train_step: each network has its own target."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        self.second = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        self.first.build((None, 6))
        self.second.build((None, 6))
        self.optimizers = [keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)]
        self.trackers = [keras.metrics.Mean(name="first"), keras.metrics.Mean(name="second")]
        for net, optimizer in zip((self.first, self.second), self.optimizers, strict=True):
            optimizer.build(net.trainable_variables)

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, batch):
        image, _ = batch
        logs = {}
        for net, optimizer, tracker in zip(
            (self.first, self.second), self.optimizers, self.trackers, strict=True
        ):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(net(image) - image[:, :1]))
            optimizer.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
            tracker.update_state(loss)
            logs[tracker.name] = tracker.result()
        return logs


def test_a_model_of_two_networks_brings_its_own_step(arrays):
    model = TwoNetworks()
    progress, blocks = run(model, arrays, epochs=20)
    # both learn to copy the first component
    assert progress.history[-1]["first"] < 0.1 * blocks[0].metrics["first"][0]
    np.testing.assert_allclose(model.second.kernel.numpy()[:, 0], np.eye(6)[0], atol=0.05)


@pytest.mark.parametrize("use_xla", [False, True])
def test_one_shape_of_batch_is_compiled_once(arrays, recwarn, use_xla):
    loop = Loop(small_model(), use_xla=use_xla)
    for _ in range(2):
        list(loop.train(batches(arrays), steps_per_epoch=STEPS, epochs=1))
    assert loop.compiled == 1
    assert not [one for one in recwarn if "compile" in str(one.message)]


def test_another_shape_of_batch_is_compiled_anew_and_warned_of(arrays):
    loop = Loop(small_model())
    list(loop.train(batches(arrays), steps_per_epoch=STEPS, epochs=1))
    smaller = tf.data.Dataset.from_tensor_slices(arrays).batch(4, drop_remainder=True).repeat()
    with pytest.warns(UserWarning, match=r"compiled for the 2\. time: .*\(4, 6\)"):
        list(loop.train(smaller, steps_per_epoch=STEPS, epochs=1))
    assert loop.compiled == 2


def test_open_shapes_under_xla_are_warned_of(arrays):
    loop = Loop(small_model(), use_xla=True)
    open_ended = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH).repeat()
    with pytest.warns(UserWarning, match=r"no fixed shape, and XLA compiles .*\(None, 6\)"):
        list(loop.train(open_ended, steps_per_epoch=2, epochs=1))
