"""What holds of every layer that stands in for one of Keras's."""

import json
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture
def opens_in_plain_keras(keras_ready, tmp_path):
    """Checks that a saved layer is Keras's own of that name, by a process without dlsuite.

    Called with the layer and an expression of ``layer`` that is to hold there.
    """

    def check(layer, expression):
        import keras

        inputs = keras.Input((4,))
        path = tmp_path / "model.keras"
        model = keras.Model(inputs, layer(inputs))
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            assert "dlsuite" not in json.dumps(json.loads(archive.read("config.json")))
        script = (
            "import sys; sys.modules['dlsuite'] = None; import keras; "
            "layer = keras.saving.load_model(sys.argv[1]).layers[-1]; "
            f"assert type(layer) is keras.layers.{type(layer).__name__} and {expression}"
        )
        environment = {"PATH": "", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    return check
