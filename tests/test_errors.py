"""Which names are suggested for a mistaken one."""

import pytest

from dlsuite.errors import suggestions


@pytest.mark.parametrize(
    ("received", "known", "first"),
    [
        ("resnt20", ["resnet20", "resnet56", "vgg16"], "resnet20"),
        ("mnist_mlp", ["mnist_cnn", "mlp", "lenet5"], "mlp"),
        ("adam-w", ["adam", "adamw", "sgdw"], "adamw"),
    ],
)
def test_the_best_name_comes_first(received, known, first):
    assert suggestions(received, known)[0] == first


def test_nothing_alike_suggests_nothing():
    assert suggestions("zzz", ["resnet20", "vgg16"]) == []
