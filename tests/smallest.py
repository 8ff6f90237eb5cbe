"""Settings of a run of a moment: three steps an epoch of an MLP of four units."""

SMALLEST = {
    "data.train_limit": 60,
    "data.validation": 50,
    "model.hidden": [4],
    "train.batch_size": 20,
}
