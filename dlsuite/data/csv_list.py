"""CSV lists of image paths and labels."""

from csv import DictReader, Error

from dlsuite.data.files import SPLIT_NAMES, Labelled, Listing, read_files
from dlsuite.data.paths import existing_file
from dlsuite.data.source import Source
from dlsuite.errors import DlsuiteError
from dlsuite.recipes.schema import Data

ENTRIES = [
    {
        "name": "csv",
        "description": "CSV list with the columns path, label and, if wanted, split",
        "source": "paths are relative to the CSV file's folder",
        "kind": "reader",
        "argument": "file",
        "syntax": "csv:PATH",
    },
]


def csv(argument: str, settings: Data) -> Source:
    """Returns the images that a CSV file lists.

    The first line names the columns: ``path`` (relative to the CSV file), ``label`` (the
    class's name) and optionally ``split`` (train, validation or val, test). Other columns
    are ignored.

    Args:
        argument: the CSV file's path; ``~`` is the home folder.
        settings: the recipe's data table.

    Raises:
        DlsuiteError: no such file, missing columns or values, classes that differ between
            splits, or unreadable images.
    """
    return read_files(f"csv:{argument}", list_csv(argument), settings)


def list_csv(argument: str) -> Listing:
    """Returns the image files with their classes by split.

    Raises:
        DlsuiteError: no such file, or missing columns or values.
    """
    file_path = existing_file(argument, "csv")
    splits: dict[str, list[Labelled]] = {}
    try:
        # utf-8-sig: spreadsheets begin their files with a byte-order mark
        with open(file_path, encoding="utf-8-sig", newline="") as file:
            rows = DictReader(file)
            columns = [column.strip() for column in rows.fieldnames or []]
            rows.fieldnames = columns
            for column in ("path", "label"):
                if column not in columns:
                    raise DlsuiteError(
                        "The first line must name the columns path and label. Received: "
                        f"{', '.join(columns) or 'an empty file'} in {argument!r}. "
                        f"Name the column {column}."
                    )
            for row in rows:
                where = f"{argument}, line {rows.line_num}"
                path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
                if not path or not label:
                    raise DlsuiteError(
                        f"Each line needs a path and a label. Received: path {path!r} and label "
                        f"{label!r} in {where}. Complete or remove the line."
                    )
                split = (row.get("split") or "train").strip().lower()
                if split not in SPLIT_NAMES:
                    raise DlsuiteError(
                        f"A split is train, validation or test. Received: {split!r} in {where}. "
                        "Correct the line."
                    )
                splits.setdefault(SPLIT_NAMES[split], []).append((file_path.parent / path, label))
    except (UnicodeDecodeError, Error) as error:
        raise DlsuiteError(
            f"csv:PATH reads text in UTF-8. Received: {argument!r}: {error}. Save it as CSV again."
        ) from None
    if not splits:
        raise DlsuiteError(
            f"The list must hold images. Received: {argument!r} without a line below the first. "
            "Add a line for each image."
        )
    order = [split for split in ("train", "validation", "test") if split in splits]
    return Listing({split: splits[split] for split in order})
