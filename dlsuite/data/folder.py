"""Image folders: one sub-folder a class, with or without a level of splits above."""

import os
from collections.abc import Iterator
from pathlib import Path

from dlsuite.data.files import Labelled, Listing, read_files
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
        "syntax": "folder:PATH",
    },
]

# What users call their splits.
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


def folder(argument: str, settings: Data) -> Source:
    """Returns the images of a folder, labelled by the name of the sub-folder they lie in.

    With sub-folders called train, validation (or val, valid) and test these are the splits;
    otherwise all images are for training. Hidden files and files without an image's
    extension are left out; the note says how many.

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
        DlsuiteError: no such folder, no classes, or an empty class.
    """
    root = existing_folder(argument, "folder")
    inside = _folders(root)
    named = {
        _SPLITS[name.lower()]: path for name, path in inside.items() if name.lower() in _SPLITS
    }
    if not named:
        named = {"train": root}
    elif "train" not in named:
        raise DlsuiteError(
            "A folder with splits needs one for training. Received: "
            f"{', '.join(path.name for path in named.values())} in {str(root)!r}. "
            "Add a folder 'train'."
        )
    ignored = 0
    splits: dict[str, list[Labelled]] = {}
    for split in ("train", "validation", "test"):
        if split in named:
            splits[split], left_out = _list_split(named[split])
            ignored += left_out
    notes = [f"{ignored} files without an image's extension were left out."] if ignored else []
    return Listing(splits, notes)


def _folders(root: Path) -> dict[str, Path]:
    return {
        entry.name: Path(entry.path)
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name)
        if entry.is_dir() and not entry.name.startswith(".")
    }


def _list_split(root: Path) -> tuple[list[Labelled], int]:
    classes = _folders(root)
    if not classes:
        images = sum(1 for path in root.iterdir() if path.suffix.lower() in EXTENSIONS)
        raise DlsuiteError(
            f"An image folder holds one sub-folder a class. Received: {str(root)!r} with none "
            f"and {images} images. Move each class's images into a folder of that name."
        )
    rows: list[Labelled] = []
    ignored = 0
    for label, path in classes.items():
        files = list(_files(path))
        images = [file for file in files if file.suffix.lower() in EXTENSIONS]
        if not images:
            raise DlsuiteError(
                f"Each class folder must hold images. Received: {str(path)!r} with none among "
                f"{len(files)} files. Add images or remove the folder."
            )
        rows += [(image, label) for image in images]
        ignored += len(files) - len(images)
    return rows, ignored


def _files(root: Path) -> Iterator[Path]:
    """The files below a folder in the order of their names, hidden ones left out."""
    for parent, folders, files in os.walk(root):
        # os.walk descends into what is left here, in this order
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)
