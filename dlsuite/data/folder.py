"""Image folders: one sub-folder a class, with or without a level of splits above."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dlsuite.data.files import SPLIT_NAMES, Labelled, Listing, read_files
from dlsuite.data.images import EXTENSIONS
from dlsuite.data.paths import existing_folder
from dlsuite.data.source import Source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "folder",
        "description": "image files in a folder a class, with or without split folders above",
        "source": "PATH/CLASS/*.png or PATH/{train,validation,test}/CLASS/*.png",
        "kind": "reader",
        "argument": "folder",
        "syntax": "folder:PATH",
    },
]

_OTHER_FILES = "Files without an image's extension"
_STRAY = "Images beside the class folders"
_LINKS = "Linked folders within class folders"


def folder(argument: str, settings: Data) -> Source:
    """Returns the images of a folder, labelled by the name of the sub-folder they lie in.

    Sub-folders called train, validation (or val, valid) and test that hold class folders are
    the splits; without them all images are for training. One sub-folder of such a name that
    holds images is a class among others. Hidden files are left out; so are files without an
    image's extension and whatever stands beside the splits or the classes, and notes say so.

    Args:
        argument: the folder's path; ``~`` is the home folder.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such folder, no classes, an empty class, classes that differ between
            splits, or unreadable images.
    """
    return read_files(f"folder:{argument}", list_folder(argument), settings)


def list_folder(argument: str) -> Listing:
    """Returns the image files of a folder with their classes by split.

    Raises:
        DlsuiteError: no such folder, one that may not be read, no classes, an empty class, two
            folders for one split, or one that may be a split or a class.
    """
    try:
        return _listed(existing_folder(argument, "folder"))
    except OSError as error:
        raise DlsuiteError(
            "All folders of a dataset must be open to this user. Received: "
            f"{str(error.filename)!r} ({error.strerror}). Change its permissions or leave it out."
        ) from error


def _listed(root: Path) -> Listing:
    inside = _folders(root)
    named = _splits(root, inside)
    left_out: Counter[str] = Counter()
    splits = {
        split: _list_split(named[split], left_out)
        for split in ("train", "validation", "test")
        if split in named
    }
    notes = [f"{what}, left out: {count}." for what, count in left_out.items() if count]
    beside = [name for name, path in inside.items() if path not in named.values()]
    if root not in named.values() and beside:
        notes.append(f"Folders beside the splits were left out: {', '.join(beside)}.")
    return Listing(splits, notes)


def _splits(root: Path, inside: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the folder of each split; of one without splits, itself for training."""
    candidates = {name: path for name, path in inside.items() if name.lower() in SPLIT_NAMES}
    holding = {name: (bool(_folders(path)), _images(path)) for name, path in candidates.items()}
    with_classes = [name for name, (classes, _) in holding.items() if classes]
    if not with_classes and len(candidates) <= 1 < len(inside):
        # a class may be called as a split is: bus, car, train
        return {"train": root}
    for name, (classes, images) in holding.items():
        if classes and images and len(candidates) < len(inside):
            raise DlsuiteError(
                "A split's folder holds class folders, and a class's folder holds images. "
                f"Received: {str(candidates[name])!r} with folders and {images} images among "
                "folders that are no splits. Rename it, or list the files for csv:PATH."
            )
    beside = [name for name in inside if name not in candidates and _images(inside[name])]
    if len(candidates) == 1 and with_classes and len(beside) > 1:
        (split,) = candidates.values()
        raise DlsuiteError(
            "A folder holds splits or classes, not both. Received: "
            f"{split.name} with class folders beside {', '.join(beside[:3])} with images in "
            f"{str(root)!r}. For its classes alone write folder:{split}; if it is a class like the "
            "others, rename it."
        )
    named: dict[str, Path] = {}
    for name, path in candidates.items():
        first = named.setdefault(SPLIT_NAMES[name.lower()], path)
        if first is not path:
            raise DlsuiteError(
                f"Each split has one folder. Received: {first.name} and {name} in {str(root)!r}, "
                f"both for {SPLIT_NAMES[name.lower()]}. Rename or join them."
            )
    return named or {"train": root}


def _folders(root: Path) -> dict[str, Path]:
    return {
        entry.name: Path(entry.path)
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name)
        if entry.is_dir() and not entry.name.startswith(".")
    }


def _images(root: Path) -> int:
    """How many images lie in the folder itself."""
    return sum(
        path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
        for path in root.iterdir()
    )


def _list_split(root: Path, left_out: Counter[str]) -> list[Labelled]:
    """Returns a split's files; counts in `left_out`, by reason, what isn't among them."""
    classes, stray = _folders(root), _images(root)
    if not classes:
        raise DlsuiteError(
            f"An image folder holds one sub-folder a class. Received: {str(root)!r} with none "
            f"and {stray} images. Move each class's images into a folder of that name."
        )
    rows: list[Labelled] = []
    for label, path in classes.items():
        files = _files(path, left_out)
        images = [file for file in files if file.suffix.lower() in EXTENSIONS]
        if not images:
            raise DlsuiteError(
                f"Each class folder must hold images. Received: {str(path)!r} with none among "
                f"{len(files)} files. Add images or remove the folder."
            )
        rows += [(image, label) for image in images]
        left_out[_OTHER_FILES] += len(files) - len(images)
    left_out[_STRAY] += stray
    return rows


def _files(root: Path, left_out: Counter[str]) -> list[Path]:
    """The files below a folder in the order of their names, hidden ones left out."""
    found: list[Path] = []
    for parent, folders, files in os.walk(root, onerror=_refused):
        # os.walk descends into what is left here, in this order; not into links, which may
        # lead in a circle
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        left_out[_LINKS] += sum(Path(parent, name).is_symlink() for name in folders)
        found += [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
    return found


def _refused(error: OSError) -> None:
    # os.walk would leave out what it may not read
    raise error
