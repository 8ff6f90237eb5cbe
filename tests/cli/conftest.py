"""A small run that the commands which read runs share. They must not change it."""

import pytest

import dlsuite


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, keras_ready):
    """Three epochs of a small MLP on 300 digits: better than chance, far from perfect."""
    return dlsuite.train(
        "mnist-mlp",
        epochs=3,
        batch_size=25,
        learning_rate=0.01,
        run_dir=tmp_path_factory.mktemp("shared-runs") / "digits",
        settings={
            "data.train_limit": 300,
            "data.validation": 100,
            "model.hidden": [16],
            "schedule.warmup_epochs": 0.0,
        },
    )
