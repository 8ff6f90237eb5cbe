import importlib

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError


@pytest.fixture(scope="module")
def applications(keras_ready):
    from dlsuite.models import applications

    return applications


@pytest.fixture(scope="module")
def build(keras_ready):
    from dlsuite.models.build import build_network

    def made(name="keras:MobileNetV2", shape=(32, 32, 3), classes=4, **options):
        options.setdefault("weights", "random")
        return build_network(
            name,
            image_shape=shape,
            num_classes=classes,
            mean=[9.0] * shape[-1],
            std=[2.0] * shape[-1],
            options=options,
        )

    return made


@pytest.fixture(scope="module")
def network(build):
    return build()


def test_every_network_of_keras_has_a_family_with_known_preprocessing(applications):
    names = applications.application_names()
    assert {"MobileNetV2", "ResNet50", "EfficientNetB0", "ConvNeXtTiny"} <= set(names)
    assert {applications.family(name) for name in names} == set(applications.PREPROCESSING)


def test_preprocessing_is_that_of_each_family_and_survives_a_file(applications, pixels, tmp_path):
    import keras

    images = pixels(2, 4, 5, 3)
    for family, mode in applications.PREPROCESSING.items():
        module = importlib.import_module(f"keras.src.applications.{family}")
        expected = module.preprocess_input(images.copy())
        inputs = keras.Input((4, 5, 3))
        outputs = keras.layers.Identity()(applications.preprocess(inputs, mode))
        model = keras.Model(inputs, outputs)
        path = tmp_path / f"{family}.keras"
        model.save(path)
        for found in (model(images), keras.saving.load_model(path)(images)):
            # values up to 150 in float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5, err_msg=family)


def test_the_network_takes_stored_images_whatever_the_dataset_says(network, pixels):
    import keras

    names = [layer.name for layer in network.model.layers]
    assert "normalization" not in names
    assert network.model.name == "MobileNetV2"
    first = network.model.get_layer("preprocessing")
    found = keras.Model(network.model.input, first.output)(np.full((1, 32, 32, 3), 255.0))
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)


def test_batch_normalization_is_the_fused_one(network):
    from dlsuite.layers.batch_normalization import BatchNormalization

    layer = network.model.get_layer("bn_Conv1")
    assert type(layer) is BatchNormalization
    assert layer.epsilon == 1e-3 and layer.momentum == 0.999  # as keras.applications sets them


def test_the_seed_decides_the_weights(build, network):
    again = build().model.get_weights()
    for one, two in zip(network.model.get_weights(), again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_frozen_network_trains_its_head_alone(build, pixels):
    network = build(frozen=True, dropout=0.5)
    trainable = [variable.path for variable in network.model.trainable_variables]
    assert trainable == ["logits/kernel", "logits/bias"]
    assert list(network.features) == ["base", "pooled", "logits"]
    kept = [variable for variable in network.model.weights if "seed" not in variable.path]
    before = [variable.numpy() for variable in kept]
    network.model(pixels(4, 32, 32, 3), training=True)
    for variable, value in zip(kept, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def test_grey_images_become_three_equal_channels(build, network, pixels):
    grey = build(shape=(32, 32, 1))
    grey.model.set_weights(network.model.get_weights())
    images = pixels(2, 32, 32, 1)
    expected = network.model(np.repeat(images, 3, axis=-1))
    np.testing.assert_array_equal(grey.model(images), expected)


def test_other_channel_counts_are_refused(build):
    with pytest.raises(DlsuiteError, match=r"1 or 3 channels. Received: 4 channels"):
        build(shape=(32, 32, 4))


def test_small_images_are_refused_with_the_least_size(build):
    with pytest.raises(DlsuiteError, match=r"MobileNetV2 .* at least 32x32 .* Received: 31x32"):
        build(shape=(31, 32, 3))
    with pytest.raises(DlsuiteError, match=r"InceptionV3 .* at least 75x75 .* Received: 1x1"):
        build("keras:InceptionV3", shape=(1, 1, 3))


def test_unknown_networks_and_weights_are_named(build):
    with pytest.raises(DlsuiteError, match=r"Received: 'MobilNetV2'. Did you mean 'MobileNetV2'"):
        build("keras:MobilNetV2")
    with pytest.raises(DlsuiteError, match=r"model.weights. Received: 'imagnet'.*'imagenet'"):
        build(weights="imagnet")


def test_weights_that_cannot_be_downloaded_end_in_a_sentence(build, monkeypatch):
    import keras

    def unreachable(**arguments):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- no route")

    unreachable.__module__ = keras.applications.MobileNetV2.__module__
    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    with pytest.raises(DlsuiteError, match=r"no route\. Copy a trained .*model\.frozen=false"):
        build(weights="imagenet")


def test_a_normalisation_that_comes_with_the_weights_is_kept(build, monkeypatch, pixels, tmp_path):
    """EfficientNet's ImageNet weights hold mean and variance; a small network stands in."""
    import keras

    def normalising(*, input_tensor, **arguments):
        layer = keras.layers.Normalization(name="from_weights")
        model = keras.Model(input_tensor, layer(input_tensor))
        layer.set_weights([np.array([1.0, 2, 3]), np.array([4.0, 9, 16]), np.array(5)])
        layer.finalize_state()  # as load_weights does
        return model

    normalising.__module__ = keras.applications.EfficientNetB0.__module__
    monkeypatch.setattr(keras.applications, "EfficientNetB0", normalising)
    network = build("keras:EfficientNetB0", frozen=True)
    base = network.extract(["base"])
    base.save(tmp_path / "base.keras")
    images = pixels(2, 32, 32, 3)
    expected = (images - [1, 2, 3]) / [2, 3, 4]
    for model in (base, keras.saving.load_model(tmp_path / "base.keras")):
        np.testing.assert_allclose(model(images)["base"], expected, rtol=1e-5, atol=1e-5)
    assert "has its own preprocessing" in network.notes[0]


def test_a_saved_network_opens_with_plain_keras(network, pixels, tmp_path):
    import keras

    network.model.save(tmp_path / "network.keras")
    images = pixels(2, 32, 32, 3)
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert type(again.get_layer("bn_Conv1")) is keras.layers.BatchNormalization
    # 52 normalised layers, each a few float32 roundings
    np.testing.assert_allclose(again(images), network.model(images), rtol=1e-3, atol=1e-6)
