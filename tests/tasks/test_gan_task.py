"""The GAN task: what each update moves, what is drawn, what is saved and resumed."""

import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import dlsuite
from dlsuite.cli.training_report import plan_numbers
from dlsuite.data import latents
from tests.tasks.gans import TINY, first_batch, moved, plan, values


def test_a_critic_update_moves_the_discriminator_and_the_generators_statistics():
    task = plan().task
    generator, discriminator = task.model.generator, task.model.discriminator.trainable_variables
    statistics = [v for v in generator.non_trainable_variables if "moving" in v.path]
    latent = first_batch(task)["latent"]
    # 0.9 of the 0 that it begins with, and 0.1 of what the batch's latents give
    expected = 0.1 * generator.get_layer("project")(latent).numpy().mean(axis=0)
    before = values(generator.trainable_variables), values(discriminator), values(statistics)
    task.model._step(first_batch(task), both=False)
    assert not any(moved(before[0], values(generator.trainable_variables)))
    assert all(moved(before[1], values(discriminator)))
    assert all(moved(before[2], values(statistics)))
    found = generator.get_layer("project_bn").moving_mean.numpy()
    np.testing.assert_allclose(found, expected.reshape(-1, found.size).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("frozen", [0, 1], ids=["generator", "discriminator"])
def test_each_optimizer_moves_its_own_network(frozen):
    task = plan().task
    optimizer, held = task.optimizers[frozen]
    other = task.optimizers[1 - frozen][1]
    applied = []
    # the optimizer that is held back says what it would have moved
    optimizer.apply = lambda gradients, variables: applied.append((gradients, variables))
    before = values(held), values(other)
    task.model.train_step(first_batch(task))
    assert not any(moved(before[0], values(held)))
    assert all(moved(before[1], values(other)))
    ((gradients, variables),) = applied
    assert [v.path for v in variables] == [v.path for v in held]
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def log_power_moments(images):
    """Mean and deviation over a batch of ln P(k) of digits, k = 1 .. 14 cycles a side."""
    frequency = np.fft.fftfreq(28) * 28
    ring = np.rint(np.hypot(frequency[:, None], frequency))
    power = tf.abs(tf.signal.fft2d(tf.cast(images[..., 0], tf.complex64))) ** 2 / 28**2
    rings = [tf.boolean_mask(power, ring == k, axis=1) for k in range(1, 15)]
    spectra = tf.math.log(tf.stack([tf.reduce_mean(ring, axis=1) for ring in rings]))
    return tf.stack([tf.reduce_mean(spectra, axis=1), tf.math.reduce_std(spectra, axis=1)])


@pytest.mark.parametrize(("spectral", "flip"), [(0.0, 0.0), (0.5, 1.0)])
def test_both_networks_are_updated_from_the_same_weights_and_images(spectral, flip):
    """One step against gradients taken by hand, with plain SGD of rate 1.

    A flip exchanges the labels for the discriminator, the spectral loss is the generator's.
    """
    task = plan(
        optimizer__name="sgd", optimizer__learning_rate=1.0, gan__label_smoothing=0.25,
        optimizer__ema_decay=0.75, gan__translation=0.0, gan__spectral=spectral,
    ).task  # fmt: skip
    generator, discriminator = task.networks.generator, task.networks.discriminator
    batch = first_batch(task) | {"flip": tf.fill([20], flip)}
    with tf.GradientTape(persistent=True) as tape:
        fake = generator(batch["latent"], training=True)
        real_logits = discriminator(batch["real"], training=True)
        fake_logits = discriminator(fake, training=True)
        p_real, p_fake = tf.sigmoid(real_logits), tf.sigmoid(fake_logits)
        p_1, p_0 = (p_fake, p_real) if flip else (p_real, p_fake)
        smoothed = -tf.reduce_mean(0.75 * tf.math.log(p_1) + 0.25 * tf.math.log(1 - p_1))
        d_loss = smoothed - tf.reduce_mean(tf.math.log(1 - p_0))
        g_loss = -tf.reduce_mean(tf.math.log(p_fake))
        gaps = log_power_moments(batch["real"]) - log_power_moments(fake)
        spectral_loss = tf.reduce_mean(tf.reduce_sum(gaps**2, axis=0))
        g_total = g_loss + spectral * spectral_loss
    expected = {}
    for network, loss in ((generator, g_total), (discriminator, d_loss)):
        weights = network.trainable_variables
        steps = zip(weights, tape.gradient(loss, weights), strict=True)
        expected[network] = [(weight - gradient).numpy() for weight, gradient in steps]
    before = values(generator.trainable_variables)
    logs = task.model.train_step(batch)
    for network, weights in expected.items():
        for weight, by_hand in zip(network.trainable_variables, weights, strict=True):
            # float32; biases before batch normalization have only rounding for a gradient, and
            # sum it over a batch's thousands of places
            atol = 5e-5 if weight.path.endswith("bias") else 1e-5
            np.testing.assert_allclose(weight.numpy(), by_hand, rtol=1e-4, atol=atol)
    np.testing.assert_allclose(logs["d_loss"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(logs["g_loss"], g_loss, rtol=1e-5)
    if spectral:
        np.testing.assert_allclose(logs["spectral"], spectral_loss, rtol=1e-4)
    averaged = dict(
        zip([v.path for v in generator.variables], task.model.average.variables, strict=True)
    )
    for weight, old in zip(generator.trainable_variables, before, strict=True):
        mean = 0.75 * old + 0.25 * weight.numpy()
        np.testing.assert_allclose(averaged[weight.path].numpy(), mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "setting", "weight"),
    [("non_saturating", "gan__r1", 3.0), ("wasserstein", "gan__gradient_penalty", 10.0)],
)
def test_penalties_move_the_discriminator_by_their_gradient(loss, setting, weight):
    """One step against gradients taken by hand, with plain SGD of a small rate."""
    rate = 1e-3
    settings = {
        "gan__loss": loss, "gan__translation": 0.0, "gan__label_smoothing": 0.0,
        "optimizer__name": "sgd", "optimizer__learning_rate": rate, "model__normalization": "none",
        setting: weight,
    }  # fmt: skip
    task = plan(**settings).task
    generator, judge = task.networks.generator, task.networks.discriminator
    batch = first_batch(task)
    weights = judge.trainable_variables
    fake = generator(batch["latent"], training=True)
    share = tf.reduce_sum(tf.abs(batch["latent"]), axis=1)[:, None, None, None] % 1.0
    between = share * batch["real"] + (1 - share) * fake
    with tf.GradientTape() as tape:
        real_logits, fake_logits = judge(batch["real"]), judge(fake)
        at = batch["real"] if setting == "gan__r1" else between
        with tf.GradientTape() as inner:
            inner.watch(at)
            logits = judge(at)
        squared = tf.reduce_sum(inner.batch_jacobian(logits, at) ** 2, axis=(1, 2, 3, 4))
        if setting == "gan__r1":
            value = tf.reduce_mean(tf.nn.softplus(-real_logits) + tf.nn.softplus(fake_logits))
            value += weight / 2 * tf.reduce_mean(squared)
        else:
            value = tf.reduce_mean(fake_logits - real_logits)
            value += weight * tf.reduce_mean((tf.sqrt(squared) - 1) ** 2)
    gradients = tape.gradient(value, weights, unconnected_gradients="zero")
    before = values(weights)
    task.model.train_step(batch)
    for weight_now, old, gradient in zip(weights, before, gradients, strict=True):
        # differences of float32 weights of size 1, over the rate: 1e-7 / 1e-3
        moved_by = (old - weight_now.numpy()) / rate
        np.testing.assert_allclose(moved_by, gradient, rtol=1e-3, atol=1e-3)
    assert max(np.abs(gradient).max() for gradient in gradients) > 0.1


def test_the_averaged_generator_has_statistics_of_its_own():
    """Held at half the generator's weights, its first activations have a quarter the variance."""
    model = plan(optimizer__ema_decay=0.999999, optimizer__learning_rate=1e-9).task.model
    generator, average = model.generator, model.average
    project = [network.get_layer("project") for network in (generator, average)]
    project[1].set_weights([weight / 2 for weight in project[0].get_weights()])
    batches = plan().task.training_data()
    # variances near 0.003 that begin at 1: 0.9^120 of that is a thousandth of them
    step = tf.function(model.train_step)
    for batch in batches.take(120):
        step(batch)
    live, own = (
        network.get_layer("project_bn").moving_variance.numpy().mean()
        for network in (generator, average)
    )
    # both saw the same latents
    assert own / live == pytest.approx(0.25, rel=0.01)


def test_latents_depend_on_seed_step_and_place_alone():
    task = plan(gan__label_flip=0.5).task
    batches = [batch for batch in task.training_data().take(4)]
    late = next(iter(task.training_data(3)))
    for name in ("real", "latent", "flip", "changes"):
        assert (late[name].numpy() == batches[3][name].numpy()).all()
    shards = [next(iter(task.training_data(3, (number, 2)))) for number in range(2)]
    for name in ("real", "latent", "flip", "changes"):
        both = np.concatenate([shard[name] for shard in shards])
        assert (both == batches[3][name].numpy()).all()
    assert not (batches[0]["latent"].numpy() == batches[1]["latent"].numpy()).any()
    # one draw decides for a whole batch
    flips = [set(batch["flip"].numpy()) for batch in task.training_data().take(20)]
    assert all(len(flip) == 1 for flip in flips)
    assert {value for flip in flips for value in flip} == {0.0, 1.0}
    other = next(iter(plan(train__seed=1).task.training_data()))
    assert not (other["latent"].numpy() == batches[0]["latent"].numpy()).any()


def test_latents_are_standard_normal():
    drawn = latents.latents(
        3, tf.constant(7), tf.range(20_000, dtype=tf.int64), 7, stream=latents.TRAINING
    ).numpy()
    assert drawn.shape == (20_000, 7)
    # four standard errors of 140,000 draws: mean 1/374, variance sqrt(2)/374, kurtosis sqrt(24)/374
    assert abs(drawn.mean()) < 4 / 374
    assert abs(drawn.var() - 1) < 4 * np.sqrt(2) / 374
    assert abs((drawn**4).mean() - 3) < 4 * np.sqrt(96) / 374
    correlations = np.corrcoef(drawn.T) - np.eye(7)
    assert np.abs(correlations).max() < 4.5 / np.sqrt(20_000)


def test_a_step_of_more_images_than_there_are_is_refused():
    words = r"train\.batch_size=30 times gan\.critic_steps=7 for 200 images\. Lower one"
    with pytest.raises(dlsuite.DlsuiteError, match=words):
        plan(gan__critic_steps=7, train__batch_size=30)


def test_critic_steps_take_images_of_their_own_and_every_nth():
    planned = plan(gan__critic_steps=2, train__batch_size=10)
    task = planned.task
    assert task.steps_per_epoch == 10
    assert plan_numbers(planned)["examples_seen"] == 200
    batch = first_batch(task)
    assert batch["real"].shape[0] == 20
    seen = []
    task.model._step = lambda part, both: seen.append((part["real"].numpy(), both))
    task.model._follow = lambda latent: None
    task.model.train_step(batch)
    assert [both for _, both in seen] == [False, True]
    np.testing.assert_array_equal(seen[0][0], batch["real"][0::2])
    np.testing.assert_array_equal(seen[1][0], batch["real"][1::2])


@pytest.mark.parametrize(
    "settings",
    [
        {
            "gan__loss": "hinge", "gan__r1": 1.0, "gan__label_smoothing": 0.0,
            "model__normalization": "none",
        },
        {"gan__loss": "least_squares", "gan__spectral": 1.0, "optimizer__ema_decay": 0.9},
        {
            "gan__loss": "wasserstein", "gan__gradient_penalty": 10.0, "gan__critic_steps": 2,
            "gan__label_smoothing": 0.0, "model__normalization": "none",
        },
    ],
    ids=["hinge-r1", "least-squares-spectral", "wgan-gp"],
)  # fmt: skip
def test_every_loss_trains_and_says_its_terms(settings, tmp_path):
    run = plan(**settings).train(tmp_path / "run")
    assert run.status == "finished"
    row = run.history[0]
    assert all(np.isfinite(value) for value in row.values())
    terms = {"gan__r1": "r1", "gan__spectral": "spectral", "gan__gradient_penalty": "penalty"}
    for setting, name in terms.items():
        assert (name in row) == (setting in settings)
    # a critic's logits have no place between real and generated
    of_labels = {"d_real", "d_fake"} if settings["gan__loss"] != "wasserstein" else set()
    assert {name for name in row if name in ("d_real", "d_fake")} == of_labels
    assert all(0 <= row[name] <= 1 for name in of_labels)


def test_the_critics_rate_falls_with_the_training_and_not_with_its_updates():
    settings = {"schedule__name": "cosine", "train__batch_size": 10, "gan__critic_steps": 2}
    task = plan(**settings).task
    batch = first_batch(task)
    (generator, _), (critic, _) = task.optimizers
    for _ in range(task.steps_per_epoch // 2):
        task.model.train_step(batch)
    rates = [float(optimizer.learning_rate) for optimizer in (generator, critic)]
    # twice as many updates of twice as long a schedule; half of the way down a cosine
    assert int(critic.iterations) == 2 * int(generator.iterations)
    assert rates[0] == pytest.approx(rates[1], rel=0.1)
    assert rates[0] == pytest.approx(task.recipe.optimizer.learning_rate / 2, rel=0.2)


def test_a_plateau_lowers_both_networks_rates(tmp_path):
    settings = {
        "schedule__name": "plateau", "schedule__patience": 1, "schedule__min_delta": 1e6,
        "train__epochs": 3, "train__steps_per_call": 10,
    }  # fmt: skip
    made = plan(**settings)
    made.train(tmp_path / "run")
    peak = made.task.recipe.optimizer.learning_rate
    # of no change that counts, after each epoch but the first
    for optimizer, _ in made.task.optimizers:
        assert float(optimizer.learning_rate) == pytest.approx(0.01 * peak)


def test_least_squares_takes_a_half_for_the_boundary():
    task = plan(gan__loss="least_squares").task
    *_, kernel, bias = task.model.discriminator.trainable_variables
    kernel.assign(tf.zeros(kernel.shape))
    bias.assign([0.3])  # every image's logit: nearer to a generated one's 0 than to a real one's 1
    logs = task.model.train_step(first_batch(task))
    assert float(logs["d_real"]) == 0 and float(logs["d_fake"]) == 1


def test_the_saved_model_is_the_averaged_generator_in_stored_units(tmp_path):
    made = plan()
    run = made.train(tmp_path / "run")
    model = keras.saving.load_model(run.folder.model_path)
    latent = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    image = model(latent).numpy()
    own = made.task.model.average(latent, training=False).numpy()
    # tanh's -1 to 1 is the digits' 0 to 255
    np.testing.assert_allclose(image, (own + 1) * 127.5, atol=1e-3)
    with pytest.raises(dlsuite.DlsuiteError, match=r"`dlsuite predict` .*'gan'"):
        run.predict([])


def state(folder):
    path = max((folder / "checkpoints").glob("step-*.safetensors"))
    return safetensors.numpy.load_file(path)


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    """The training is a process of its own, killed by SIGKILL within its second epoch."""
    extra = {
        "train.epochs": 12, "train.checkpoint_steps": 3, "train.steps_per_call": 2,
        "gan.label_flip": 0.3, "gan.critic_steps": 2,
    }  # fmt: skip
    words = [f"--set={key}={value}" for key, value in (TINY | extra).items()]
    command = [sys.executable, "-m", "dlsuite.cli", "train", "mnist-dcgan", *words]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, f"--run-dir={whole}"], check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, f"--run-dir={killed}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list((killed / "checkpoints").glob("step-*")) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    resumed = [sys.executable, "-m", "dlsuite.cli", "resume", str(killed)]
    subprocess.run(resumed, check=True, capture_output=True)
    mine, theirs = state(killed), state(whole)
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in theirs)
    for name in ("metrics.jsonl", "history.json"):
        assert (killed / name).read_text() == (whole / name).read_text()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model__name": "mnist_cnn"}, r"made for one task.*'mnist_cnn'.*classification.*'gan'"),
        ({"gan__gradient_penalty": 10.0}, r"one image at a time.*normalization='none'"),
        ({"gan__r1": 1.0}, r"at a time.*gan\.r1=1 .*normalization='none', or gan\.r1=0"),
        ({"gan__loss": "hinge"}, r"losses with labels.*--set gan\.label_smoothing=0"),
        ({"train__monitor": "distance"}, r"'distance'.*val_distance, val_pixel_distance"),
        ({"train__monitor": "val_diversity"}, "must be a metric of the task"),
        ({"data__augment__mixup": 0.2}, r"mix labels.*mixup=0.2.*cutmix=0"),
        (
            {"train__batch_size": 300},
            r"more images than the train split.*batch_size=300.*for 200 images",
        ),
        ({"train__monitor": "val_accuracy"}, r"'val_accuracy'.*val_distance"),
        ({"pixels__transform": "logarithm", "pixels__shift": 1e-9}, None),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(settings, words):
    if words is None:
        assert plan(**settings).task.transform.limits[1] > 0  # digits lie above -shift
        return
    if "model__name" in settings:
        settings = settings | {"model__width": 4}
    with pytest.raises(dlsuite.DlsuiteError, match=words):
        plan(**settings)


def test_a_collapse_is_said_once(tmp_path, recwarn):
    from dlsuite.reports.gan import watch

    (sheets,) = watch(plan().task, tmp_path)
    for epoch, diversity in enumerate((0.01, 0.6, 0.1, 0.1)):
        sheets.on_epoch_end(epoch, {"val_diversity": diversity})
    said = [str(warning.message) for warning in recwarn if "collapsing" in str(warning.message)]
    assert len(said) == 1 and "after epoch 3 they differ 0.10 times" in said[0]
