import shutil
from pathlib import Path

import numpy as np
import pytest

from dlsuite.errors import DlsuiteError

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def build(keras_ready):
    from dlsuite.models.build import build_network

    def made(path, shape=(8, 8, 3), classes=4, mean=None, std=None, **options):
        return build_network(
            str(path), image_shape=shape, num_classes=classes, mean=mean, std=std, options=options
        )

    return made


@pytest.fixture(scope="module")
def classifier(keras_ready, tmp_path_factory, pixels):
    """A user's functional classifier of five classes, ending in a softmax, and its file."""
    import keras

    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")  # a name that dlsuite uses too
    x = keras.layers.Conv2D(6, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dense(5, name="logits")(x)
    model = keras.Model(image, keras.layers.Softmax()(x))
    model.get_layer("bn").set_weights([np.full(6, value) for value in (1.5, 0.2, 1.0, 50.0)])
    path = tmp_path_factory.mktemp("classifier") / "classifier.keras"
    model.save(path)
    return model, path


def test_the_head_is_replaced_and_the_features_kept(build, classifier, pixels):
    import keras

    model, path = classifier
    network = build(path, dropout=0.1)
    assert network.features == {"base": "base_pooled", "logits": "logits"}
    assert network.model.output_shape == (None, 4)
    assert network.model.name == "classifier"
    images = pixels(3, 8, 8, 3)
    expected = keras.Model(model.input, model.get_layer("pooled").output)(images)
    # fused and stock batch normalization differ by float32 roundings of values near 100
    np.testing.assert_allclose(
        network.extract(["base"])(images)["base"], expected, rtol=1e-5, atol=1e-4
    )


def test_the_recipes_precision_is_that_of_the_file_too(build, classifier):
    from dlsuite.tasks.precision import precision_policy

    for precision, computes in (("bfloat16", "bfloat16"), ("float32", "float32")):
        with precision_policy(precision):
            model = build(classifier[1], mean=[1.0] * 3, std=[2.0] * 3).model
        kinds = {layer.name: layer.compute_dtype for layer in model.layers}
        assert kinds["conv"] == kinds["base_bn" if "base_bn" in kinds else "bn"] == computes
        assert kinds["logits"] == "float32"
        assert all(weight.dtype == "float32" for weight in model.weights)


def test_a_kept_head_gives_the_logits_under_the_softmax(build, classifier, pixels):
    import keras

    model, path = classifier
    network = build(path, classes=5, keep_head=True)
    images = pixels(3, 8, 8, 3)
    found = keras.ops.softmax(network.model(images))
    np.testing.assert_allclose(found, model(images), rtol=1e-4, atol=1e-6)


def test_a_head_of_another_size_cannot_be_kept(build, classifier):
    with pytest.raises(DlsuiteError, match=r"dataset's 4 classes. Received: .* with 5 classes"):
        build(classifier[1], keep_head=True)


def test_the_datasets_normalisation_comes_before_the_network(build, classifier, pixels):
    _, path = classifier
    images = pixels(3, 8, 8, 3)
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    normalised = build(path, mean=mean, std=std).extract(["base"])(images)["base"]
    plain = build(path).extract(["base"])((images - np.array(mean)) / np.array(std))["base"]
    np.testing.assert_allclose(normalised, plain, rtol=1e-5, atol=1e-5)


def test_a_network_that_normalises_by_itself_is_left_to_it(build, pixels, tmp_path):
    import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.ZeroPadding2D(1)(image)
    x = keras.layers.Rescaling(1 / 255, name="normalization")(x)
    x = keras.layers.Conv2D(2, 3)(x)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    model.save(tmp_path / "own.keras")
    network = build(
        tmp_path / "own.keras", classes=3, mean=[1.0] * 3, std=[2.0] * 3, keep_head=True
    )
    assert "base_normalization" in [layer.name for layer in network.model.layers]
    images = pixels(2, 8, 8, 3)
    np.testing.assert_allclose(network.model(images), model(images), rtol=1e-5, atol=1e-6)


def test_a_frozen_network_trains_its_head_and_keeps_its_statistics(build, classifier, pixels):
    network = build(classifier[1], frozen=True)
    assert [v.path for v in network.model.trainable_variables] == ["logits/kernel", "logits/bias"]
    network.model(pixels(3, 8, 8, 3), training=True)
    layer = network.model.get_layer("bn")
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.ones(6))
    thawed = build(classifier[1])
    thawed.model(pixels(3, 8, 8, 3), training=True)
    assert np.any(thawed.model.get_layer("bn").moving_mean.numpy() != 1)


def test_the_users_own_file_is_not_changed(build, classifier):
    _, path = classifier
    before = path.read_bytes()
    build(path, frozen=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["größe.keras", "_best.keras", "(2) net.keras"])
def test_a_file_of_any_name_can_be_called_in_a_graph(name, build, classifier, pixels, tmp_path):
    import tensorflow as tf

    shutil.copy(classifier[1], tmp_path / name)
    model = build(tmp_path / name).model
    images = pixels(2, 8, 8, 3)
    # float32, in another order under the graph's fusions
    np.testing.assert_allclose(tf.function(model)(images), model(images), rtol=1e-5, atol=1e-5)


def test_sequential_nested_and_headless_models_are_taken(build, pixels, tmp_path):
    import keras

    inner_image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="inner_conv", trainable=False)(inner_image)
    x = keras.layers.BatchNormalization(name="inner_bn")(x)
    inner = keras.Model(inner_image, x, name="inner")
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Activation("relu")])
    model.save(tmp_path / "sequential.keras")
    network = build(tmp_path / "sequential.keras")
    assert list(network.features) == ["base", "pooled", "logits"]
    images = pixels(2, 8, 8, 3)
    expected = np.asarray(model(images)).mean((1, 2))
    found = network.extract(["pooled"])(images)["pooled"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert not network.model.get_layer("inner_conv").trainable
    assert network.model.get_layer("inner_bn").trainable


def test_operations_that_are_no_layers_are_copied_too(build, pixels, tmp_path):
    import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.ops.flip(image, axis=-1)[:, 1:, ::2] * 2.0)
    model = keras.Model(image, keras.layers.Dense(4)(x))
    model.save(tmp_path / "operations.keras")
    images = pixels(2, 8, 8, 3)
    network = build(tmp_path / "operations.keras", keep_head=True)
    np.testing.assert_allclose(network.model(images), model(images), rtol=1e-5, atol=1e-4)


def test_images_of_another_shape_are_refused(build, classifier):
    message = (
        r"images of 8x8x3. Received: 28x28x1. Add --set data.image_size=8 --set data.channels=3"
    )
    with pytest.raises(DlsuiteError, match=message):
        build(classifier[1], shape=(28, 28, 1))


def test_a_network_that_takes_no_images_is_refused(build, tmp_path):
    import keras

    for shape, words in (((784,), "784"), ((None, 3), "anyx3"), ((4, 8, 8, 1), "4x8x8x1")):
        keras.Sequential([keras.Input(shape), keras.layers.Dense(5)]).save(tmp_path / "other.keras")
        with pytest.raises(
            DlsuiteError, match=rf"height x width x channels. Received: .* takes {words}\."
        ):
            build(tmp_path / "other.keras")


def test_files_that_are_no_model_are_named(build, classifier, tmp_path):
    with pytest.raises(DlsuiteError, match=r"missing.keras, which does not exist"):
        build(tmp_path / "missing.keras")
    text = tmp_path / "text.keras"
    text.write_text("not a model")
    with pytest.raises(DlsuiteError, match=r"zip archive .* Received: .*text.keras"):
        build(text)
    torn = tmp_path / "torn.keras"
    whole = classifier[1].read_bytes()
    torn.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DlsuiteError, match=r"Received: .*torn.keras"):
        build(torn)


def test_code_in_a_file_is_refused(build, tmp_path):
    import keras

    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((8, 8, 3))
    outputs = keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 3))(image)
    keras.Model(image, outputs).save(tmp_path / "lambda.keras")
    with pytest.raises(DlsuiteError, match=r"and no code. Received: .*lambda.keras"):
        build(tmp_path / "lambda.keras")
    keras.Model(image, Own()(image)).save(tmp_path / "own.keras")
    with pytest.raises(
        DlsuiteError, match=r"layers only, .* Received: .*own.keras: Could not locate class 'Own'"
    ):
        build(tmp_path / "own.keras")


def test_several_inputs_are_refused(build, tmp_path):
    import keras

    images = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    keras.Model(images, keras.layers.Add()(images)).save(tmp_path / "two.keras")
    with pytest.raises(DlsuiteError, match="one input and one output"):
        build(tmp_path / "two.keras")


def test_a_network_of_dlsuites_own_can_be_fine_tuned(build, pixels, tmp_path):
    from dlsuite.layers.batch_normalization import BatchNormalization
    from dlsuite.models.build import build_network

    first = build_network(
        "mnist_cnn", image_shape=(8, 8, 3), num_classes=5, mean=[120.0] * 3, std=[60.0] * 3
    )
    first.model.save(tmp_path / "first.keras")
    again = build(
        tmp_path / "first.keras", classes=5, mean=[0.0] * 3, std=[1.0] * 3, keep_head=True
    )
    images = pixels(2, 8, 8, 3)
    np.testing.assert_array_equal(again.model(images), first.model(images))
    assert type(again.model.get_layer("stage1_bn")) is BatchNormalization


def test_fine_tuning_may_be_repeated(build, classifier, tmp_path):
    path = classifier[1]
    for number in range(4):
        network = build(path, mean=[1.0] * 3, std=[2.0] * 3, dropout=0.2)
        names = [layer.name for layer in network.model.layers]
        assert sum(name.endswith("head_dropout") for name in names) == 1
        assert sum(name.endswith("normalization") for name in names) == 1
        path = tmp_path / f"{number}.keras"
        network.model.save(path)


@pytest.mark.data
@pytest.mark.slow
def test_a_pretrained_imagenet_network_of_a_user(build, pixels):
    path = DATA / "mobilenet_v2_imagenet.keras"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    import keras

    shape = (224, 224, 3)
    mean = [255 * value for value in (0.485, 0.456, 0.406)]
    std = [255 * value for value in (0.229, 0.224, 0.225)]
    network = build(path, shape=shape, classes=1000, mean=mean, std=std, keep_head=True)
    images = pixels(2, *shape)
    expected = keras.saving.load_model(path)((images - np.array(mean)) / np.array(std))
    # 52 normalised layers in float32
    np.testing.assert_allclose(network.model(images), expected, rtol=1e-3, atol=1e-3)
