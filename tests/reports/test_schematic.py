import itertools

import pytest


@pytest.fixture(scope="module")
def texts(keras_ready):
    """Returns a function that draws a registered network and gives the figure's words."""
    from dlsuite.models import MODELS
    from dlsuite.models.build import outline_network
    from dlsuite.reports.schematic import schematic

    def drawn(name):
        details = MODELS[name].details
        network = outline_network(name, image_shape=details["image_shape"], num_classes=10)
        figure = schematic(network.model, title=name)
        (axes,) = figure.axes
        words = [text.get_text() for text in axes.texts]
        return words, [text.get_text() for text in axes.get_legend().get_texts()], axes

    return drawn


def test_vgg16_has_the_blocks_of_the_slides(texts):
    words, legend, _ = texts("vgg16")
    assert words[0::2][:-1] == [
        *("image", "2× conv 3×3", "max pool", "2× conv 3×3", "max pool", "3× conv 3×3"),
        *("max pool", "3× conv 3×3", "max pool", "3× conv 3×3", "max pool", "2× dense", "dense"),
    ]
    assert words[1::2][:-1] == [
        *("224×224×3", "224×224×64", "112×112×64", "112×112×128", "56×56×128", "56×56×256"),
        *("28×28×256", "28×28×512", "14×14×512", "14×14×512", "7×7×512", "4096", "10"),
    ]
    assert words[-2] == "vgg16"
    assert legend == ["convolution", "pooling", "dense"]


def test_shortcuts_are_arcs_and_their_layers_are_not_drawn(texts):
    from matplotlib.patches import FancyArrowPatch

    words, legend, axes = texts("resnet18")
    assert words[:14:2] == [
        *("image", "conv 7×7", "max pool", "4× conv 3×3", "4× conv 3×3", "4× conv 3×3"),
        "4× conv 3×3",
    ]
    arcs = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arcs) == 8
    assert sum(arc.get_linestyle() == "solid" for arc in arcs) == 5
    assert legend[-2:] == ["shortcut", "shortcut to another shape"]


def test_deep_networks_are_drawn_by_residual_block(texts):
    words, _, _ = texts("resnet50")
    assert words[6:14:2] == ["3× block", "4× block", "6× block", "3× block"]
    assert words[7:15:2] == ["56×56×256", "28×28×512", "14×14×1024", "7×7×2048"]


def test_deep_networks_without_shortcuts_are_drawn_by_map_size(texts):
    words, _, _ = texts("plain56")
    assert words[2:8:2] == ["19× conv 3×3", "18× conv 3×3", "18× conv 3×3"]


def test_labels_do_not_overlap(texts):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for name in ("vgg16", "resnet20", "lenet5", "mlp", "alexnet", "mnist_cnn"):
        words, _, axes = texts(name)
        renderer = FigureCanvasAgg(axes.figure).get_renderer()
        shapes = axes.texts[1 : len(words) - 2 : 2]
        boxes = [text.get_window_extent(renderer) for text in shapes]
        assert all(one.x1 < two.x0 for one, two in itertools.pairwise(boxes)), name
        inside = axes.figure.bbox
        assert all(inside.x0 < box.x0 and box.x1 < inside.x1 for box in boxes), name


def test_the_same_network_gives_the_same_file(keras_ready, tmp_path):
    from dlsuite.models.build import outline_network
    from dlsuite.reports import style
    from dlsuite.reports.schematic import schematic

    for name in ("one", "two"):
        network = outline_network("lenet5", image_shape=(28, 28, 1), num_classes=10)
        style.save(schematic(network.model), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
