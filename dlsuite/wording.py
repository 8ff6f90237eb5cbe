"""Numbers and their nouns in sentences for people."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number and its noun in the number that it asks for.

    Example:
        >>> counted(1, "epoch"), counted(2000, "epoch"), counted(2, "class", "classes")
        ('1 epoch', '2,000 epochs', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
