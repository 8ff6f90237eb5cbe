"""Image files and folders in, predictions and failures out."""

import keras
import numpy as np
import pytest
from PIL import Image

from dlsuite.analysis import prediction
from dlsuite.analysis.prediction import (
    Failure,
    Prediction,
    image_files,
    predict_files,
    stream_predictions,
)
from dlsuite.errors import DlsuiteError

NAMES = ("dark", "bright")


@pytest.fixture(scope="module")
def model():
    """Bright where the mean pixel is over 100: logits 0 and (mean - 100) / 10."""
    image = keras.Input((4, 4, 1), name="image", dtype="float32")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(2)
    made = keras.Model(image, dense(mean))
    dense.set_weights([np.array([[0.0, 0.1]]), np.array([0.0, -10.0])])
    return made


def save(path, value, size=(4, 4), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * 3).save(path)
    return path


def predict(model, paths, **options):
    return predict_files(model, paths, class_names=NAMES, image_shape=(4, 4, 1), **options)


def test_label_and_probabilities_of_any_kind_of_file(model, tmp_path):
    files = [
        save(tmp_path / "dark.png", 90),
        save(tmp_path / "large.bmp", 110, size=(40, 30)),
        save(tmp_path / "colour.gif", 130, mode="RGB"),
        save(tmp_path / "photo.jpg", 100, size=(9, 5)),
    ]
    result = predict(model, files)
    assert result.failures == ()
    assert [row.path for row in result.rows] == files
    assert [row.label for row in result.rows[:3]] == ["dark", "bright", "bright"]
    # 1 / (1 + e^-1) for a logit of 1 against 0; float32
    assert result.rows[0].probability == pytest.approx(0.7310586, abs=1e-6)
    assert result.rows[1].probability == pytest.approx(0.7310586, abs=1e-6)
    np.testing.assert_allclose(result.rows[2].probabilities, [0.0474259, 0.9525741], atol=1e-6)
    # JPEG may be off by a grey level, a tenth of a logit
    np.testing.assert_allclose(result.rows[3].probabilities, 0.5, atol=0.026)


def test_unreadable_files_are_named_and_the_others_done(model, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("no image")
    whole = save(tmp_path / "whole.png", 10, size=(64, 64))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:60])
    paths = [text, whole, tmp_path / "absent.png", cut, whole]
    outcomes = list(
        stream_predictions(model, paths, class_names=NAMES, image_shape=(4, 4, 1), batch_size=2)
    )
    assert [type(o) for o in outcomes] == [Failure, Prediction, Failure, Failure, Prediction]
    assert [o.path for o in outcomes] == paths
    for failure in (outcomes[0], outcomes[2], outcomes[3]):
        assert str(failure.path) in failure.reason
    assert "doesn't exist" in outcomes[2].reason


def test_only_unreadable_files_give_only_failures(model, tmp_path):
    result = predict(model, [tmp_path / "a.png", tmp_path / "b.png"])
    assert result.rows == ()
    assert [failure.path.name for failure in result.failures] == ["a.png", "b.png"]


def test_a_folder_stands_for_the_images_below_it_by_name(tmp_path):
    for name in ("b.PNG", "a/z.jpeg", "a/b/c.bmp", ".hidden.png", ".cache/d.png"):
        save(tmp_path / name, 0)
    (tmp_path / "notes.txt").write_text("none")
    found = [path.relative_to(tmp_path).as_posix() for path in image_files([tmp_path])]
    assert found == ["b.PNG", "a/z.jpeg", "a/b/c.bmp"]


def test_a_folder_without_images_is_a_failure(tmp_path):
    (failure,) = image_files([tmp_path])
    assert failure.path == tmp_path
    assert "has none" in failure.reason


def test_no_more_than_a_batch_of_images_is_read_ahead(model, tmp_path, monkeypatch):
    for number in range(10):
        save(tmp_path / f"{number}.png", 0)
    read = []
    original = prediction.read_sized_image
    monkeypatch.setattr(
        prediction,
        "read_sized_image",
        lambda path, **shape: read.append(path) or original(path, **shape),
    )
    stream = stream_predictions(
        model, [tmp_path], class_names=NAMES, image_shape=(4, 4, 1), batch_size=3
    )
    next(stream)
    assert len(read) == 3
    assert len(list(stream)) == 9
    assert len(read) == 10


def test_an_image_whose_logits_are_not_finite_is_a_failure(tmp_path):
    image = keras.Input((4, 4, 1))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    dense = keras.layers.Dense(2)
    model = keras.Model(image, dense(mean))
    dense.set_weights([np.array([[3e38, 0.0]]), np.zeros(2)])
    dark, bright = save(tmp_path / "dark.png", 0), save(tmp_path / "bright.png", 200)
    result = predict(model, [dark, bright])
    assert [row.path for row in result.rows] == [dark]
    assert "bright.png" in result.failures[0].reason
    assert "Logits are finite" in result.failures[0].reason


def test_the_mistakes_that_concern_every_file_are_raised_at_once(model, tmp_path):
    path = save(tmp_path / "a.png", 0)
    with pytest.raises(DlsuiteError, match="2 logits and 3 class names"):
        stream_predictions(model, [path], class_names="abc", image_shape=(4, 4, 1))
    with pytest.raises(DlsuiteError, match=r"1 or 3 channels.*trained on 5 channels"):
        stream_predictions(model, [path], class_names=NAMES, image_shape=(4, 4, 5))
    with pytest.raises(DlsuiteError, match=r"values from -1 to 0\.5"):
        predict(model, [path], value_range=(-1.0, 0.5))
    with pytest.raises(DlsuiteError, match="batch_size=0"):
        predict(model, [path], batch_size=0)
