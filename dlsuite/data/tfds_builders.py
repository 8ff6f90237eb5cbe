"""Builders of tensorflow-datasets: found by name, prepared once."""

import contextlib
import fcntl
import os
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets

from dlsuite.errors import DlsuiteError, unknown_name

Builder = tensorflow_datasets.core.DatasetBuilder
_DOWNLOAD_ERRORS = (OSError, tensorflow_datasets.download.DownloadError)


def data_dir() -> Path:
    """Returns where tfds keeps prepared datasets: ``TFDS_DATA_DIR`` or its own default."""
    chosen = os.environ.get("TFDS_DATA_DIR")
    return Path(chosen).expanduser() if chosen else Path.home() / "tensorflow_datasets"


def find_builder(name: str) -> Builder:
    """Returns the builder of a dataset of tensorflow-datasets.

    Args:
        name: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.

    Raises:
        DlsuiteError: there is no such dataset, configuration or version.
    """
    from dlsuite.data import DATASETS

    known = tensorflow_datasets.list_builders(with_community_datasets=False)
    plain = name.split("/")[0].split(":")[0]
    if plain not in known:
        raise unknown_name(
            "dataset", plain, [*DATASETS, *known], "List them with `dlsuite datasets`."
        )
    try:
        return tensorflow_datasets.builder(name, data_dir=str(data_dir()))
    except (ValueError, AssertionError) as error:
        raise DlsuiteError(
            f"tfds must know the configuration and version. Received: {name!r}: "
            f"{str(error).splitlines()[0]}. Write {plain} alone for its default."
        ) from None


def prepare_builder(builder: Builder) -> None:
    """Downloads and writes the builder's files where they don't exist yet.

    Processes that start together wait for the first of them. tfds shows its progress on
    stderr where it downloads; a builder over installed files is quick and silent.

    Raises:
        DlsuiteError: no network, or a folder that can't be written.
    """
    if builder.data_path.exists():
        return
    # .../NAME/CONFIG/VERSION or .../NAME/VERSION
    folder = builder.data_path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".dlsuite-lock"):
            if builder.data_path.exists():
                # another process has finished while this one waited
                builder.info.read_from_directory(builder.data_path)
                return
            _download_and_prepare(builder)
    except OSError as error:
        raise DlsuiteError(
            "Prepared datasets are kept in a folder that can be written. Received: "
            f"{str(error.filename or folder)!r}: {error.strerror}. Set TFDS_DATA_DIR to a folder "
            "of yours."
        ) from None


def _download_and_prepare(builder: Builder) -> None:
    hosts = sorted({urllib.parse.urlsplit(url).hostname or "" for url in builder.url_infos or ()})
    _check_network(builder.name, hosts)
    config = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
    try:
        with _output(shown=bool(hosts)):
            builder.download_and_prepare(download_config=config)
    except PermissionError:
        raise
    except AssertionError as error:
        # tfds asserts that files a user has to fetch by hand lie in place
        raise DlsuiteError(
            f"tfds can't prepare {builder.name!r} by itself. Received: {error}. "
            "Follow the dataset's page on tensorflow.org/datasets."
        ) from None
    except _DOWNLOAD_ERRORS as error:
        raise DlsuiteError(
            f"tfds couldn't download {builder.name!r}. Received: {error}. Check the network and "
            "the disk, or copy a prepared dataset into TFDS_DATA_DIR."
        ) from None


def _check_network(name: str, hosts: list[str]) -> None:
    """Says at once what tfds would say after minutes of trying again."""
    if urllib.request.getproxies():
        return
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            raise DlsuiteError(
                f"The dataset {name!r} isn't prepared on this machine and has to be downloaded. "
                f"Received: no way to {host}. Connect to the network, copy a prepared dataset "
                f"into {str(data_dir())!r}, or train on mnist_5k, which needs no download."
            ) from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _output(*, shown: bool) -> Iterator[None]:
    """Sends what tfds prints on stdout, which belongs to results, to stderr or nowhere."""
    with contextlib.ExitStack() as stack:
        target = sys.stderr if shown else stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(target))
        tensorflow_datasets.display_progress_bar(shown)
        stack.callback(tensorflow_datasets.display_progress_bar, True)
        yield
