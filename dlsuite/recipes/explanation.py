"""What is wrong with a recipe's values, in sentences."""

from collections.abc import Mapping
from typing import Any

import pydantic

from dlsuite.errors import suggestions
from dlsuite.recipes.schema import Recipe, Section, sections_of


def explain(
    schema: type[Recipe], error: pydantic.ValidationError, origins: Mapping[str, str], file: str
) -> str:
    """Returns sentences that name each wrong value, where it was set, and what is allowed.

    Args:
        schema: class of the recipe that was to be made.
        error: what pydantic has against it.
        origins: dotted key to where its value came from.
        file: where the values without an origin of their own came from.
    """
    sections = dict(sections_of(schema))
    sentences = []
    seen = set()
    for problem in error.errors():
        # a union reports each of its branches behind the key; the key is what users know
        location = []
        for part in problem["loc"]:
            location.append(str(part))
            if ".".join(location) not in sections:
                break
        key = ".".join(location)
        if key in seen:
            continue
        seen.add(key)
        where = f"{origins.get(key, file)}, key {key}"
        # by place and not by dots, which a quoted key may hold
        section, leaf = ".".join(location[:-1]), location[-1] if location else ""
        if problem["type"] == "extra_forbidden":
            known = list(sections[section].model_fields)
            sentence = f"Unknown recipe key. Received: {leaf!r} ({where})."
            close = suggestions(leaf, known)
            if close:
                sentence += " Did you mean " + " or ".join(repr(name) for name in close) + "?"
            task = schema.model_fields["task"].default
            of = section or f"a recipe of the task {task}"
            sentences.append(f"{sentence} Keys of {of}: {', '.join(known)}.")
            continue
        rule = problem["msg"].removeprefix("Value error, ")
        model = sections.get(section)
        described = (
            model.model_fields[leaf].description if model and leaf in model.model_fields else None
        )
        received = problem["input"]
        shown = "a table" if isinstance(received, (dict, Section)) else repr(received)
        sentence = (
            f"Invalid recipe value: {rule[0].lower() + rule[1:]}. Received: {shown} ({where})."
        )
        if described:
            sentence += f" {leaf}: {described}; allowed: {_allowed(model, leaf)}."
        sentences.append(sentence)
    return " ".join(sentences)


def _allowed(model: type[Section], leaf: str) -> str:
    """Returns the type and range of a key in words, from the JSON Schema."""
    shape = model.model_json_schema()["properties"][leaf]
    return " or ".join(_in_words(branch) for branch in shape.get("anyOf", [shape]))


def _in_words(shape: Mapping[str, Any]) -> str:
    if "enum" in shape:
        return ", ".join(repr(value) for value in shape["enum"])
    if "const" in shape:
        return repr(shape["const"])
    words = {"null": "unset", "array": "a list"}.get(shape.get("type"), shape.get("type", "value"))
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "pattern": "matching",
    }
    limits = [f"{word} {shape[key]}" for key, word in bounds.items() if key in shape]
    return " ".join([words, " and ".join(limits)]).strip()
