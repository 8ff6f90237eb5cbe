"""A GAN so small that tests can train it, and what they look at."""

from dlsuite import planning

# with the DCGAN paper's discriminator
TINY = {
    "model.normalization": "batch",
    "gan.r1": 0.0,
    "gan.label_smoothing": 0.1,
    "data.train_limit": 200,
    "data.validation": 100,
    "model.width": 4,
    "model.latent_dim": 8,
    "train.batch_size": 20,
    "train.epochs": 1,
    "train.log_every": 1,
}


def plan(**settings):
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return planning.plan("mnist-dcgan", settings=TINY | dotted)


def first_batch(task):
    return next(iter(task.training_data()))


def values(variables):
    return [variable.numpy() for variable in variables]


def moved(before, after):
    return [bool((a != b).any()) for a, b in zip(before, after, strict=True)]
