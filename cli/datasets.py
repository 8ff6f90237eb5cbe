"""`dlsuite datasets`."""

import click

from dlsuite.cli import console
from dlsuite.data import DATASETS

# Image-classification datasets of tensorflow-datasets that users ask for most. Any other of
# its image-classification names works too; asking tfds itself would cost its import.
_TFDS = {
    "mnist": "70,000 digits, 28x28 grey, 10 classes",
    "fashion_mnist": "70,000 pieces of clothing, 28x28 grey, 10 classes",
    "kmnist": "70,000 Japanese characters, 28x28 grey, 10 classes",
    "emnist": "814,255 digits and letters, 28x28 grey, 62 classes",
    "cifar10": "60,000 photographs, 32x32 RGB, 10 classes",
    "cifar100": "60,000 photographs, 32x32 RGB, 100 classes",
    "svhn_cropped": "99,289 house numbers, 32x32 RGB, 10 classes",
    "stl10": "13,000 labelled photographs, 96x96 RGB, 10 classes",
    "eurosat": "27,000 satellite images, 64x64 RGB, 10 classes",
    "colorectal_histology": "5,000 tissue images, 150x150 RGB, 8 classes",
    "malaria": "27,558 blood cells, RGB of several sizes, 2 classes",
    "imagenette": "13,394 photographs of ImageNet, several sizes, 10 classes",
    "oxford_flowers102": "8,189 flowers, several sizes, 102 classes",
    "food101": "101,000 dishes, several sizes, 101 classes",
    "imagenet2012": "1,281,167 photographs, several sizes, 1,000 classes; fetched by hand",
}


@click.command()
@console.json_option
def command(as_json: bool) -> None:
    """List datasets and the readers of one's own files.

    \b
    dlsuite datasets
    dlsuite train mnist-cnn --data folder:photos
    """
    built_in = [entry for entry in DATASETS.values() if entry.details.get("kind") == "dataset"]
    plug_ins = [entry for entry in DATASETS.values() if "kind" not in entry.details]
    readers = [entry for entry in DATASETS.values() if entry.details.get("kind") == "reader"]
    if as_json:
        console.print_json(
            {
                "datasets": [
                    {"name": e.name, "description": e.description, "source": e.source}
                    for e in built_in + plug_ins
                ],
                "tfds": [{"name": name, "description": said} for name, said in _TFDS.items()],
                "readers": [
                    {
                        "name": e.name,
                        "syntax": e.details["syntax"],
                        "description": e.description,
                        "source": e.source,
                    }
                    for e in readers
                ],
            }
        )
        return
    listing = console.table("name", "what", title="Datasets")
    for entry in built_in + plug_ins:
        listing.add_row(entry.name, entry.description)
    console.out.print(listing)
    listing = console.table("name", "what", title="\nDownloaded by tensorflow-datasets")
    for name, said in _TFDS.items():
        listing.add_row(name, said)
    listing.add_row("...", "any other image-classification dataset of tensorflow.org/datasets")
    console.out.print(listing)
    listing = console.table("write", "reads", title="\nReaders")
    for entry in readers:
        listing.add_row(entry.details["syntax"].replace("[", r"\["), entry.description)
    console.out.print(listing)
