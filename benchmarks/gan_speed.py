"""Training images/s of adversarial networks: dlsuite, stock Keras and PyTorch, paired.

    python benchmarks/gan_speed.py                         # both, about a quarter of an hour
    python benchmarks/gan_speed.py --nets dcgan --rounds 5 --generations 1

``dcgan`` is the 64-pixel DCGAN with 16 maps next to the image, ``cosmogan`` the recipe
cosmogan-64, both in batches of 32, images in memory. A step updates both networks from the same
fake images. Stock Keras is the same networks with Keras's own layers and a
``train_step`` of its own under ``fit``; PyTorch runs eagerly, channels last. How they are
compared is in paired.py; the table is training_speed.py's.
"""

import argparse
import os

import numpy as np
from paired import serve
from training_speed import measure, print_header, print_row

BATCH, LATENT, WIDTH = 32, 64, 16
OTHERS = ("keras", "torch")
CHANNELS = {"dcgan": 3, "cosmogan": 1}


def images(net: str) -> np.ndarray:
    """2,048 images of noise in -1 to 1, (N, 64, 64, C)."""
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (2048, 64, 64, CHANNELS[net])).astype("float32")


def dlsuite_work(net: str, threads: int):
    from dlsuite.runtime import prepare

    prepare()
    import tempfile

    from dlsuite import planning
    from dlsuite.engine.loop import Loop

    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, images(net))
        file.flush()
        task = planning.plan(
            "cosmogan-64", data=f"npy:{file.name}", model=net, threads=threads, device="cpu",
            settings={
                "model.width": WIDTH, "model.latent_dim": LATENT, "pixels.scale": 1.0,
                "data.validation": 32,
            },
        ).task  # fmt: skip
    loop = Loop(task.model, steps_per_call=8)
    steps = loop.train(task.training_data(), steps_per_epoch=10**9, epochs=1)

    def work(count: int) -> int:
        done = 0
        while done < count:
            done += next(steps).count
        return done * BATCH

    return work


def keras_work(net: str, threads: int):
    from dlsuite.runtime import prepare

    prepare()  # with the same kernels
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    from dlsuite.models.adversaries import build_adversaries

    networks = build_adversaries(
        net, image_shape=(64, 64, CHANNELS[net]), options={"width": WIDTH, "latent_dim": LATENT}
    )

    def stock(network):
        def clone(layer):
            # dlsuite's own layers have the names of those they stand for
            return getattr(keras.layers, type(layer).__name__).from_config(layer.get_config())

        return keras.models.clone_model(network, clone_function=clone)

    class Adversarial(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator, self.discriminator = map(
                stock, (networks.generator, networks.discriminator)
            )
            self.d_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
            self.d_loss, self.g_loss = keras.metrics.Mean("d"), keras.metrics.Mean("g")
            self.built = True

        @property
        def metrics(self):
            return [self.d_loss, self.g_loss]

        def train_step(self, real):
            latent = tf.random.normal((BATCH, LATENT))
            with tf.GradientTape(persistent=True) as tape:
                fake = self.generator(latent, training=True)
                r = self.discriminator(real, training=True)
                f = self.discriminator(fake, training=True)
                d_loss = tf.reduce_mean(tf.nn.softplus(-r)) + tf.reduce_mean(tf.nn.softplus(f))
                g_loss = tf.reduce_mean(tf.nn.softplus(-f))
            for loss, network, optimizer in (
                (d_loss, self.discriminator, self.d_optimizer),
                (g_loss, self.generator, self.optimizer),
            ):
                weights = network.trainable_variables
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            self.d_loss.update_state(d_loss)
            self.g_loss.update_state(g_loss)
            return {"d": self.d_loss.result(), "g": self.g_loss.result()}

    model = Adversarial()
    model.compile(optimizer=keras.optimizers.Adam(2e-4, beta_1=0.5), steps_per_execution=8)
    batches = (
        tf.data.Dataset.from_tensor_slices(images(net))
        .shuffle(2048)
        .batch(BATCH, drop_remainder=True)
        .repeat()
        .prefetch(2)
    )

    def work(count: int) -> int:
        count = -(-count // 8) * 8
        model.fit(batches, steps_per_epoch=count, epochs=1, verbose=0)
        return count * BATCH

    return work


def torch_work(net: str, threads: int):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    channels, wide = CHANNELS[net], [WIDTH << i for i in range(4)]

    generator = [nn.Linear(LATENT, 16 * wide[3]), nn.Unflatten(1, (wide[3], 4, 4))]
    for i in range(3, -1, -1):
        generator += [nn.BatchNorm2d(wide[i]), nn.ReLU()]
        out = wide[i - 1] if i else channels
        generator += [nn.ConvTranspose2d(wide[i], out, 5, 2, padding=2, output_padding=1)]
    g = nn.Sequential(*generator, nn.Tanh()).to(memory_format=torch.channels_last)
    discriminator, before = [], channels
    for i in range(4):
        discriminator += [nn.Conv2d(before, wide[i], 5, 2, padding=2)]
        discriminator += [nn.BatchNorm2d(wide[i])] if i else []
        discriminator += [nn.LeakyReLU(0.2)]
        before = wide[i]
    d = nn.Sequential(*discriminator, nn.Flatten(), nn.Linear(16 * wide[3], 1))
    d = d.to(memory_format=torch.channels_last)
    optimizers = [torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (d, g)]
    data = torch.from_numpy(images(net)).permute(0, 3, 1, 2)
    data = data.contiguous(memory_format=torch.channels_last)
    softplus, held = nn.functional.softplus, []

    def work(count: int) -> int:
        for _ in range(count):
            real = data[torch.randint(len(data), (BATCH,))]
            fake = g(torch.randn(BATCH, LATENT))
            of_real, of_fake = d(real), d(fake)
            d_loss = softplus(-of_real).mean() + softplus(of_fake).mean()
            # from the same weights, through the same pass, as in the other two
            for loss, network, optimizer in zip(
                (d_loss, softplus(-of_fake).mean()), (d, g), optimizers, strict=True
            ):
                weights = list(network.parameters())
                gradients = torch.autograd.grad(loss, weights, retain_graph=network is d)
                held.append((optimizer, weights, gradients))
            while held:
                optimizer, weights, gradients = held.pop()
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.grad = gradient
                optimizer.step()
        return count * BATCH

    return work


WORKS = {"dlsuite": dlsuite_work, "keras": keras_work, "torch": torch_work}


def main() -> None:
    """Compares the libraries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=CHANNELS, default=list(CHANNELS))
    parser.add_argument("--rounds", type=int, default=9, help="in a generation")
    parser.add_argument("--generations", type=int, default=3, help="starts of all processes")
    parser.add_argument("--seconds", type=float, default=2.0, help="per library and round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.set_defaults(augment=False, against=list(OTHERS))
    arguments = parser.parse_args()
    if arguments.worker:
        library, net = arguments.worker
        serve(WORKS[library](net, arguments.threads), seconds=arguments.seconds)
        return
    print_header(arguments.against)
    for net in arguments.nets:
        print_row(net, measure(__file__, net, arguments), arguments.against)


if __name__ == "__main__":
    main()
