"""The one error class for what a user can fix, and the one warning for what they should know."""

import difflib
from collections.abc import Iterable


class DlsuiteError(Exception):
    """A mistake in the input or the surroundings that the user can put right.

    The message says the rule, what came, and what to do. The command line prints it as one
    sentence without a traceback and exits with 1; every other exception is a bug of dlsuite's
    and keeps its traceback.
    """


class DlsuiteWarning(UserWarning):
    """What a user should know; the command line prints it as a note, without a line of code."""


def suggestions(received: str, known: Iterable[str]) -> list[str]:
    """Returns at most three of the known names that resemble the received one, best first.

    A known name that is a word of the received one comes before what is merely alike: mlp for
    mnist_mlp, but adamw for adam_w.
    """
    folded = {name.lower().replace("-", "_"): name for name in known}
    asked = received.lower().replace("-", "_")
    words = [word for word in asked.split("_") if word in folded]
    closest = difflib.get_close_matches(asked, folded, n=3, cutoff=0.85)
    close = difflib.get_close_matches(asked, folded, n=3, cutoff=0.55)
    return [folded[name] for name in dict.fromkeys([*closest, *words, *close])][:3]


def unknown_name(kind: str, received: str, known: Iterable[str], remedy: str) -> DlsuiteError:
    """Returns the error for a name that is not in a list of known ones."""
    message = f"Unknown {kind}. Received: {received!r}."
    close = suggestions(received, known)
    if close:
        message += " Did you mean " + " or ".join(repr(name) for name in close) + "?"
    return DlsuiteError(f"{message} {remedy}")
