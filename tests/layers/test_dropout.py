"""Dropout: Keras's own masks, an honest fraction with XLA, saved as Keras's own layer."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def layer_class(keras_ready):
    from dlsuite.layers.dropout import Dropout

    return Dropout


def _masks(layer, *, use_xla, steps=3):
    """The outputs of several steps for inputs of ones."""
    import tensorflow as tf

    step = tf.function(lambda x: layer(x, training=True), jit_compile=use_xla)
    return [step(tf.ones((32, 40))).numpy() for _ in range(steps)]


def test_masks_are_bit_for_bit_keras_own_without_xla(layer_class):
    import keras

    ours = _masks(layer_class(0.3, seed=7), use_xla=False)
    theirs = _masks(keras.layers.Dropout(0.3, seed=7), use_xla=False)
    np.testing.assert_array_equal(ours, theirs)


def test_the_generator_is_named_and_not_left_to_whatever_compiles_it(layer_class):
    import keras
    import tensorflow as tf

    def generator(layer):
        traced = tf.function(lambda x: layer(x, training=True))
        graph = traced.get_concrete_function(tf.TensorSpec((32, 40))).graph
        (drawing,) = [o for o in graph.get_operations() if o.type == "StatelessRandomUniformV2"]
        return tf.random.Algorithm(int(tf.get_static_value(drawing.inputs[3])))

    assert generator(layer_class(0.5)) is tf.random.Algorithm.PHILOX
    # should Keras name one itself some day, this layer may go
    assert generator(keras.layers.Dropout(0.5)) is tf.random.Algorithm.AUTO_SELECT


def test_the_fraction_is_left_out_and_the_mean_kept(layer_class):
    kept = np.concatenate(_masks(layer_class(0.3, seed=1), use_xla=True, steps=20))
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1 / np.float32(0.7))}
    # 25,600 draws: the fraction's deviation is sqrt(0.3 * 0.7 / 25600) = 0.0029
    assert abs((kept == 0).mean() - 0.3) < 4 * 0.0029


def test_inference_and_the_ends_of_the_range_change_nothing_or_all(layer_class):
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layer_class(0.5)(x, training=False), x)
    np.testing.assert_array_equal(layer_class(0.0)(x, training=True), x)
    np.testing.assert_array_equal(layer_class(1.0)(x, training=True), 0 * x)


def test_a_noise_shape_is_keras_own(layer_class):
    layer = layer_class(0.5, noise_shape=(None, 1), seed=3)
    (first, *_) = _masks(layer, use_xla=False, steps=1)
    assert set(first.std(axis=1)) == {0.0}, "a row is kept or left out as one"
    assert 0 < (first == 0).mean() < 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_outputs_have_the_policys_type(layer_class, policy):
    layer = layer_class(0.5, dtype=policy)
    assert layer(np.ones((2, 2)), training=True).dtype.name == policy.removeprefix("mixed_")


def test_the_file_opens_where_dlsuite_cannot_be_imported(layer_class, opens_in_plain_keras):
    opens_in_plain_keras(layer_class(0.25), "layer.rate == 0.25")


def test_a_copy_is_a_dropout_of_the_same_rate(layer_class):
    import copy
    import pickle

    layer = layer_class(0.25, seed=1)
    layer.build((None, 4))
    for duplicate in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert duplicate.rate == 0.25
