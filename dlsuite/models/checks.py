"""Checks of what users pass to a network: the image's size and the options."""

from collections.abc import Sequence
from typing import Any

from keras import KerasTensor

from dlsuite.errors import DlsuiteError, unknown_name


def check_image_size(name: str, image: KerasTensor, *, smallest: int) -> None:
    """Checks that height and width are at least so many pixels.

    Args:
        name: of the network, as users type it.
        image: shape (B, H, W, C).
        smallest: least height and width [pixel].

    Raises:
        DlsuiteError: the image is smaller.
    """
    _, height, width, _ = image.shape
    if min(height, width) < smallest:
        raise DlsuiteError(
            f"{name} needs images of at least {smallest}x{smallest} pixels. "
            f"Received: {height}x{width}. Set data.image_size={smallest} or more, "
            "or choose another network from `dlsuite models`."
        )


def check_count(option: str, received: Any) -> int:
    """Returns the received value if it is a whole number of at least 1.

    Raises:
        DlsuiteError: it is something else.
    """
    if isinstance(received, bool) or not isinstance(received, int) or received < 1:
        raise DlsuiteError(
            f"model.{option} is a whole number of at least 1. Received: {received!r}. "
            f"Set for example model.{option}=64."
        )
    return received


def check_counts(option: str, received: Any) -> tuple[int, ...]:
    """Returns the received values if they are whole numbers of at least 1.

    Raises:
        DlsuiteError: they are something else.
    """
    is_list = isinstance(received, Sequence) and not isinstance(received, str)
    if not is_list or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in received):
        raise DlsuiteError(
            f"model.{option} is a list of whole numbers of at least 1. Received: {received!r}. "
            f"Set for example model.{option}=[256, 128]."
        )
    return tuple(received)


def check_fraction(option: str, received: Any) -> float:
    """Returns the received value if it is a number from 0 to below 1.

    Raises:
        DlsuiteError: it is something else.
    """
    is_number = isinstance(received, int | float) and not isinstance(received, bool)
    if not is_number or not 0 <= received < 1:
        raise DlsuiteError(
            f"model.{option} is a number from 0 to below 1. Received: {received!r}. "
            f"Set for example model.{option}=0.5."
        )
    return float(received)


def check_switch(option: str, received: Any, *, or_auto: bool = False) -> bool | str:
    """Returns the received value if it is true or false, or ``auto`` where that is allowed.

    Raises:
        DlsuiteError: it is something else.
    """
    if not isinstance(received, bool) and not (or_auto and received == "auto"):
        rule = "true, false or 'auto'" if or_auto else "true or false"
        raise DlsuiteError(
            f"model.{option} is {rule}. Received: {received!r}. "
            f"Set model.{option}=true or model.{option}=false."
        )
    return received


def check_choice(option: str, received: Any, choices: Sequence[str]) -> str:
    """Returns the received value if it is one of the choices.

    Raises:
        DlsuiteError: it is something else.
    """
    if received not in choices:
        remedy = f"Set model.{option} to one of: {', '.join(choices)}."
        raise unknown_name(f"model.{option}", str(received), choices, remedy)
    return received
