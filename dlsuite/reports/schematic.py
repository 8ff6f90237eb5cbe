"""The block schematic of a network, as lecture slides draw it."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
from keras import layers
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, Polygon
from matplotlib.path import Path as MplPath

from dlsuite.layers.maxout import Maxout
from dlsuite.models.summary import Shape, Step, flops, parameters, steps
from dlsuite.reports import style

_CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)
_POOLINGS = (
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
)
_DRAWN = _CONVOLUTIONS + _POOLINGS
_COLORS = {
    "image": "#EAEAEA",
    "convolution": style.SKY,
    "pooling": style.ORANGE,
    "dense": style.GREEN,
}
# Beyond this many convolutions, residual blocks and neighbours on maps of one size are merged.
_MOST_SLABS = 24
_LARGEST_SIDE = 2.6  # inches, of the largest map
_VECTOR_SIDE = 0.2  # inches, of a dense layer's bar
_DEPTH = (0.26, 0.20)  # of a side, to the right and upwards
_LABEL_WIDTH = 0.68  # inches, what a label of 11 characters takes
_GAP = 0.08  # inches, between boxes
_DASHES = (0, (3, 1.5))

# A shortcut's first and last box, and whether it changes the map's shape.
_Arc = tuple[int, int, bool]


@dataclass
class _Block:
    """A box: one layer, or `count` convolutions or residual blocks."""

    kind: str
    shape: Shape
    text: str
    count: int = 1
    left: float = 0.0
    right: float = 0.0


@style.styled
def schematic(model: keras.Model, *, title: str | None = None) -> Figure:
    """Returns the block schematic of a functional model.

    Front and depth of a box are the map's size, its breadth the number of channels, on
    compressed scales (powers 0.5 and 0.4) so that the first and last layers can be seen
    together. Vectors are bars. Arcs are shortcuts, dashed where they change the shape. Deep
    networks are drawn by residual block instead of by convolution. Activations, normalisation,
    padding and dropout are left out.

    Args:
        model: functional, with images as input.
        title: over the figure; unset is the model's name.
    """
    blocks, arcs = _blocks(steps(model))
    runs = _runs(blocks)
    largest = max(max(_map_size(block.shape)) for block in blocks)
    length = _lay_out(runs, largest)
    top = max(_top(block, largest) for block in blocks)
    figure = Figure(layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    for block in blocks:
        _draw_box(axes, block, largest)
    for first, last, is_reshaped in arcs:
        _draw_arc(axes, blocks[first], blocks[last], largest, is_reshaped=is_reshaped)
    for run in runs:
        _draw_label(axes, run, -top)
    axes.text(0, top + 0.50, title or model.name, fontsize=12, fontweight="bold", va="bottom")
    size = f"{_rounded(parameters(model))} parameters, {_rounded(flops(model))} FLOPs an image"
    axes.text(0, top + 0.46, size, color=style.GREY, va="top")
    _draw_legend(axes, blocks, arcs, top + 0.26)
    width, low, high = max(length, 3.6) + 0.3, -top - 0.45, top + 0.80
    axes.set(xlim=(-0.15, width - 0.15), ylim=(low, high))
    axes.set_axis_off()
    figure.set_size_inches(width, high - low)
    return figure


def _blocks(graph: list[Step]) -> tuple[list[_Block], list[_Arc]]:
    """The boxes, and the shortcuts between them."""
    shortcuts = list(_shortcuts(graph))
    hidden = {layer for shortcut in shortcuts for layer in shortcut.branch}
    drawn = sum(isinstance(step.layer, _CONVOLUTIONS) for step in graph) - len(hidden)
    is_merged = drawn > _MOST_SLABS
    if is_merged:
        hidden |= {layer for shortcut in shortcuts for layer in shortcut.main}
    sums = {shortcut.add for shortcut in shortcuts} if is_merged else set()
    blocks: list[_Block] = []
    place: dict[keras.Operation, int] = {}  # the last box up to each layer
    for step in graph:
        box = None if step.layer in hidden else _box(step)
        if step.layer in sums:
            box = _Block("convolution", step.output_shape, "block")
        if box is None:
            place[step.layer] = max((place[parent] for parent in step.parents), default=0)
            continue
        if is_merged and blocks and _is_mergeable(blocks[-1], box):
            last = blocks[-1]
            last.count += 1
            last.shape = max(last.shape, box.shape)
            last.text = last.text if last.text == box.text else "conv"
        else:
            blocks.append(box)
        place[step.layer] = len(blocks) - 1
    if is_merged:
        return blocks, []
    arcs = [(place[arc.start], place[arc.end], bool(arc.branch)) for arc in shortcuts]
    return blocks, [arc for arc in arcs if arc[0] < arc[1]]


def _is_mergeable(last: _Block, box: _Block) -> bool:
    return (
        last.kind == box.kind == "convolution"
        and last.text[:4] == box.text[:4]  # "conv" of any kernel
        and _map_size(last.shape) == _map_size(box.shape)
    )


def _box(step: Step) -> _Block | None:
    layer, shape = step.layer, step.output_shape
    if isinstance(layer, layers.InputLayer):
        return _Block("image", shape, "image")
    if isinstance(layer, keras.Model):
        return _Block("convolution", shape, layer.name)
    if isinstance(layer, layers.DepthwiseConv2D):
        return _Block("convolution", shape, f"conv {_kernel(layer.kernel_size)} depthwise")
    if isinstance(layer, _CONVOLUTIONS):
        return _Block("convolution", shape, f"conv {_kernel(layer.kernel_size)}")
    if isinstance(layer, layers.Dense | Maxout):
        is_map = len(shape) == 3
        text = "maxout" if isinstance(layer, Maxout) else "dense"
        return _Block("convolution" if is_map else "dense", shape, text)
    if isinstance(layer, _POOLINGS):
        word = "average" if "Average" in type(layer).__name__ else "max"
        return _Block("pooling", shape, f"{word} pool")
    return None


def _kernel(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


@dataclass(frozen=True)
class _Shortcut:
    """Two ways between two layers that are added; of each, what would be drawn of it."""

    start: keras.Operation
    end: keras.Operation
    add: keras.Operation
    main: frozenset[keras.Operation]
    branch: frozenset[keras.Operation]


def _shortcuts(graph: list[Step]) -> Iterator[_Shortcut]:
    order = {step.layer: number for number, step in enumerate(graph)}
    before: dict[keras.Operation, set[keras.Operation]] = {}
    for step in graph:
        before[step.layer] = set(step.parents).union(*(before[parent] for parent in step.parents))
        if not isinstance(step.layer, layers.Add) or len(step.parents) != 2:
            continue
        one, two = (before[parent] | {parent} for parent in step.parents)
        ways = [
            (parent, frozenset(layer for layer in way if isinstance(layer, _DRAWN)))
            for parent, way in zip(step.parents, (one - two, two - one), strict=True)
        ]
        (end, main), (_, branch) = sorted(ways, key=lambda way: len(way[1]), reverse=True)
        if one & two:
            yield _Shortcut(max(one & two, key=order.get), end, step.layer, main, branch)


def _runs(blocks: list[_Block]) -> list[list[_Block]]:
    """Neighbours of one kind, shape and text, which share a label."""
    groups = itertools.groupby(blocks, key=lambda block: (block.kind, block.shape, block.text))
    return [list(group) for _, group in groups]


def _lay_out(runs: list[list[_Block]], largest: int) -> float:
    """Sets where each box stands, and returns where the last one ends."""
    x = 0.0
    for run, following in itertools.zip_longest(runs, runs[1:]):
        breadths = [_breadth(block) for block in run]
        taken = sum(breadths) + _GAP * (len(run) - 1)
        room = max(taken, _LABEL_WIDTH)
        left = x + (room - taken) / 2
        for block, breadth in zip(run, breadths, strict=True):
            block.left, block.right = left, left + breadth
            left += breadth + _GAP
        x += room + 1.5 * _GAP
        if following and len(following[0].shape) < len(run[0].shape):
            # a bar stands clear of the map's far corner
            x = max(x, run[-1].right + _DEPTH[0] * _side(run[0].shape, largest) + _GAP)
    last = runs[-1][-1]
    return max(x, last.right + _DEPTH[0] * _side(last.shape, largest))


def _map_size(shape: Shape) -> tuple[int, int]:
    """Height and width of a map; 1 and 1 of a vector."""
    return (shape[0] or 1, shape[1] or 1) if len(shape) == 3 else (1, 1)


def _side(shape: Shape, largest: int) -> float:
    """Height of a box's front [inch]."""
    if len(shape) < 3:
        return _VECTOR_SIDE
    return max(_VECTOR_SIDE, _LARGEST_SIDE * math.sqrt(max(_map_size(shape)) / largest))


def _breadth(block: _Block) -> float:
    """Extent of a box along the network [inch]."""
    channels = (block.shape[-1] or 1) ** 0.4
    if len(block.shape) < 3:
        return 0.045 * channels
    return max(0.05, 0.035 * channels * math.sqrt(min(block.count, 8)))


def _top(block: _Block, largest: int) -> float:
    return _side(block.shape, largest) * (1 + _DEPTH[1]) / 2


def _draw_box(axes: Axes, block: _Block, largest: int) -> None:
    side = _side(block.shape, largest)
    across, up = (side * part for part in _DEPTH)
    low = -(side + up) / 2
    high = low + side
    left, right = block.left, block.right
    color = _COLORS[block.kind]
    faces = (
        (1.0, [(left, low), (right, low), (right, high), (left, high)]),
        (
            1.25,
            [(left, high), (right, high), (right + across, high + up), (left + across, high + up)],
        ),
        (
            0.78,
            [(right, low), (right + across, low + up), (right + across, high + up), (right, high)],
        ),
    )
    for light, corners in faces:
        axes.add_patch(
            Polygon(corners, facecolor=_lit(color, light), edgecolor="white", linewidth=0.5)
        )
    slice_breadth = (right - left) / block.count
    for number in range(1, block.count if slice_breadth > 0.05 else 1):
        x = left + number * slice_breadth
        axes.plot([x, x, x + across], [low, high, high + up], color="white", linewidth=0.5)


def _lit(color: str, light: float) -> tuple[float, ...]:
    """The colour darker (light below 1) or nearer to white (above)."""
    if light <= 1:
        return tuple(light * part for part in to_rgb(color))
    return tuple(1 - (1 - part) * (2 - light) for part in to_rgb(color))


def _draw_arc(axes: Axes, first: _Block, last: _Block, largest: int, *, is_reshaped: bool) -> None:
    """A shortcut, from the middle of one box's top to the other's."""
    (x0, y0), (x1, y1) = (_crest(block, largest) for block in (first, last))
    high = max(y0, y1) + 0.45
    path = MplPath(
        [(x0, y0), (x0, high), (x1, high), (x1, y1)],
        [MplPath.MOVETO, MplPath.CURVE4, MplPath.CURVE4, MplPath.CURVE4],
    )
    axes.add_patch(
        FancyArrowPatch(
            path=path,
            arrowstyle="-|>",
            mutation_scale=6,
            shrinkA=0,
            shrinkB=0,
            color=style.BLACK,
            linewidth=0.8,
            linestyle=_DASHES if is_reshaped else "solid",
        )
    )


def _crest(block: _Block, largest: int) -> tuple[float, float]:
    """The middle of a box's top face."""
    side = _side(block.shape, largest)
    return (block.left + block.right + side * _DEPTH[0]) / 2, side / 2


def _draw_label(axes: Axes, run: list[_Block], y: float) -> None:
    """What a run of boxes is, and the shape of its maps."""
    first, count = run[0], sum(block.count for block in run)
    x = (first.left + run[-1].right) / 2
    text = f"{count}× {first.text}" if count > 1 else first.text
    axes.text(x, y - 0.08, text, fontsize=6.5, color=style.GREY, ha="center", va="top")
    shape = "×".join("?" if size is None else str(size) for size in first.shape)
    axes.text(x, y - 0.22, shape, fontsize=7, ha="center", va="top")


def _draw_legend(axes: Axes, blocks: list[_Block], arcs: list[_Arc], y: float) -> None:
    kinds = {block.kind for block in blocks} - {"image"}
    handles = [Patch(color=_COLORS[kind], label=kind) for kind in _COLORS if kind in kinds]
    for is_reshaped in sorted({arc[2] for arc in arcs}):
        label = "shortcut to another shape" if is_reshaped else "shortcut"
        dashes = _DASHES if is_reshaped else "solid"
        handles.append(
            Line2D([], [], color=style.BLACK, linewidth=0.8, linestyle=dashes, label=label)
        )
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, y),
        bbox_transform=axes.transData,
        ncols=len(handles),
        handlelength=1.6,
        handleheight=0.9,
        columnspacing=1.2,
        borderpad=0,
        borderaxespad=0,
    )


def _rounded(number: int) -> str:
    """A count in thousands, millions or billions, with three digits."""
    for power, unit in ((9, " billion"), (6, " million"), (3, " thousand")):
        if number >= 10**power:
            return f"{number / 10**power:.3g}{unit}"
    return str(number)
