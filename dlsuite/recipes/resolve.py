"""From a recipe's name, a file and options to one frozen recipe that says where each value is from.

The layers, later ones winning: the schema's defaults, the recipe file, the named options, and
settings by dotted key.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic
import tomlkit
from pydantic.json_schema import models_json_schema

from dlsuite.bounded import read_text
from dlsuite.errors import DlsuiteError, unknown_name
from dlsuite.recipes import DEFAULT_TASK, TASKS
from dlsuite.recipes.explanation import explain
from dlsuite.recipes.schema import About, OptionSection, Recipe, sections_of

# The options that the command line and `dlsuite.train` share, and the setting each stands for.
OPTIONS = {
    "data": "data.name",
    "model": "model.name",
    "optimizer": "optimizer.name",
    "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "schedule": "schedule.name",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "seed": "train.seed",
    "precision": "train.precision",
    "device": "train.device",
    "devices": "train.devices",
    "xla": "train.xla",
    "threads": "train.threads",
}
DEFAULT_RECIPE = "mnist-cnn"
_MOST_BYTES = 2**20
# Keys that mean the same for another name of the same form, by the form's beginning or ending.
_FORM_KEYS = {
    ("model", "keras:"): {"weights", "frozen", "dropout"},
    ("model", ".keras"): {"frozen", "dropout"},
}


@dataclass(frozen=True)
class Resolved:
    """A validated recipe and its history.

    Attributes:
        name: the recipe's name, or the stem of its file.
        recipe: every value present.
        origins: dotted key to ``default``, ``recipe NAME``, ``file PATH`` or the option.
        notes: sentences on what an option displaced.
    """

    name: str
    recipe: Recipe
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


def recipe_names() -> list[str]:
    """Returns the names of the built-in recipes, sorted."""
    folder = resources.files("dlsuite.recipes")
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def recipe_abouts() -> dict[str, About]:
    """Returns what each built-in recipe says of itself, by name."""
    return {name: About(**_read(name)[2]["about"]) for name in recipe_names()}


def resolve(
    recipe: str | Path = DEFAULT_RECIPE,
    *,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Resolved:
    """Returns the recipe with options and settings applied, validated.

    An option that names another model, optimizer or schedule displaces that table of the
    recipe, whose other keys belonged to the old one. A schedule's warm-up stays, and so does
    what two pretrained networks have in common: whether they are frozen, and dropout.

    Args:
        recipe: a built-in name or the path of a TOML file.
        options: by the names in `OPTIONS`; None values are left out.
        settings: by dotted key, such as ``{"data.augment.flip": "horizontal"}``.

    Raises:
        DlsuiteError: no such recipe, unreadable TOML, an unknown key, a wrong type or range.
    """
    name, origin, tables = _read(recipe)
    origins = {key: origin for key, _ in _leaves(tables)}
    notes: list[str] = []
    changes = []
    for option, value in (options or {}).items():
        if value is None:
            continue
        if option not in OPTIONS:
            raise unknown_name("option", option, OPTIONS, f"Options: {', '.join(OPTIONS)}.")
        changes.append((OPTIONS[option], value, f"--{option.replace('_', '-')}"))
    changes += [(key, value, "--set") for key, value in (settings or {}).items()]
    for value, by in [(value, by) for key, value, by in changes if key == "task"]:
        tables["task"], origins["task"] = value, by
    schema = _schema(tables.get("task", DEFAULT_TASK), origins.get("task", origin))
    # names first: they displace their table, and a rate given beside them must survive
    for key, value, by in sorted(changes, key=lambda change: not change[0].endswith(".name")):
        _check_key(schema, key, by)
        _displace(schema, tables, origins, notes, key, value)
        _assign(tables, key, value, by)
        origins[key] = by
    try:
        validated = schema.model_validate(tables)
    except pydantic.ValidationError as error:
        raise DlsuiteError(explain(schema, error, origins, origin)) from None
    for key, _ in _leaves(validated.model_dump()):
        origins.setdefault(key, "default")
    return Resolved(name, validated, origins, tuple(notes))


def parse_setting(text: str) -> tuple[str, Any]:
    """Returns key and value of ``section.key=value``; the value is TOML, or else a bare string.

    Raises:
        DlsuiteError: there is no equals sign or no key.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise DlsuiteError(
            f"A setting is written section.key=value. Received: {text!r}. "
            "Example: --set train.epochs=3"
        )
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def to_toml(resolved: Resolved, *, origins: bool = True) -> str:
    """Returns the recipe as TOML that can be saved, edited and run again.

    Settings that are unset are left out, TOML having no null. With `origins`, each value's
    comment says where it came from.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment(f"dlsuite recipe {resolved.name}"))

    def fill(table: Any, values: Mapping[str, Any], prefix: str, origin: str = "") -> None:
        # a table ends the keys of the one above it, so the plain keys come first
        for key, value in sorted(values.items(), key=lambda pair: _is_tables(pair[1])):
            path = f"{prefix}{key}"
            said = origin or resolved.origins.get(path, "default")
            if isinstance(value, Mapping):
                section = tomlkit.table()
                fill(section, value, f"{path}.", origin)
                table.add(key, section)
            elif _is_tables(value):
                array = tomlkit.aot()
                for entry in value:
                    array.append(tomlkit.table())
                    fill(array[-1], entry, f"{path}.", said)
                table.add(key, array)
            elif value is not None:
                item = tomlkit.item(value)
                if origins and not path.startswith("about."):
                    item.comment(said)
                table.add(key, item)

    fill(document, resolved.recipe.model_dump(), "")
    return tomlkit.dumps(document)


def _is_tables(value: Any) -> bool:
    """Whether a value is written as a table, or as a list of tables."""
    is_list = isinstance(value, list) and value
    return isinstance(value, Mapping) or bool(
        is_list and all(isinstance(entry, Mapping) for entry in value)
    )


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of recipes, for editors that complete and check TOML by it."""
    schemas = {name: TASKS.load(name) for name in TASKS}
    references, definitions = models_json_schema(
        [(schema, "validation") for schema in schemas.values()]
    )
    branches = []
    for name, schema in schemas.items():
        is_this = {"properties": {"task": {"const": name}}}
        if name != DEFAULT_TASK:
            is_this["required"] = ["task"]
        branches.append({"if": is_this, "then": references[schema, "validation"]})
    task = {"enum": list(schemas), "default": DEFAULT_TASK, "description": "kind of problem"}
    return {
        "title": "dlsuite recipe",
        "type": "object",
        "properties": {"task": task},
        "allOf": branches,
        **definitions,
    }


def _schema(task: Any, where: str) -> type[Recipe]:
    """Returns the class of a task's recipes.

    Raises:
        DlsuiteError: there is no such task.
    """
    if not isinstance(task, str) or task not in TASKS:
        remedy = f"Tasks: {', '.join(TASKS)}."
        raise unknown_name(f"task ({where}, key task)", str(task), TASKS, remedy)
    return TASKS.load(task)


def _read(recipe: str | Path) -> tuple[str, str, dict[str, Any]]:
    text = str(recipe)
    if text in recipe_names():
        source = resources.files("dlsuite.recipes").joinpath(f"{text}.toml")
        return text, f"recipe {text}", tomllib.loads(source.read_text(encoding="utf-8"))
    path = Path(text)
    if path.suffix != ".toml" and not path.is_file():
        raise unknown_name(
            "recipe",
            text,
            recipe_names(),
            "List them with `dlsuite recipes`, or give the path of a .toml file.",
        )
    try:
        text_of_file = read_text(path, most_bytes=_MOST_BYTES)
        return path.stem, f"file {path}", tomllib.loads(text_of_file)
    except OSError as error:
        raise DlsuiteError(
            f"A recipe file must be readable. Received: {text!r} ({error.strerror}). "
            "Check the path, or list the built-in recipes with `dlsuite recipes`."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DlsuiteError(
            f"A recipe must be valid TOML. Received: {text!r}: {error}. Correct that line."
        ) from None
    except RecursionError:
        raise DlsuiteError(
            f"A recipe is tables of values and short lists. Received: {text!r}, nested too deeply "
            "to be read. Write it anew from `dlsuite recipes show`."
        ) from None


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _displace(
    schema: type[Recipe],
    tables: dict[str, Any],
    origins: dict[str, str],
    notes: list[str],
    key: str,
    value: Any,
) -> None:
    section, _, leaf = key.rpartition(".")
    if leaf != "name" or section not in ("model", "optimizer", "schedule"):
        return
    old = tables.get(section, {})
    if not isinstance(old, dict):
        return
    # a table without a name is of the task's own choice
    before = old.get("name", schema.model_fields[section].annotation().name)
    if before == value:
        return
    kept = _lasting(section, before) & _lasting(section, value)
    gone = [other for other in old if other != "name" and other not in kept]
    for other in gone:
        del old[other]
        origins.pop(f"{section}.{other}", None)
    if gone:
        notes.append(
            f"{section} {value!r} takes its own defaults: the recipe's "
            f"{', '.join(gone)} belonged to {before!r}."
        )


def _lasting(section: str, name: Any) -> set[str]:
    """The keys of a section that don't belong to the one thing that it names."""
    if section == "schedule":
        return {"warmup_epochs"}
    for (owner, form), keys in _FORM_KEYS.items():
        if owner == section and (str(name).startswith(form) or str(name).endswith(form)):
            return keys
    return set()


def _assign(tables: dict[str, Any], key: str, value: Any, by: str) -> None:
    *sections, leaf = key.split(".")
    table = tables
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise DlsuiteError(
                f"A section must be a table. Received: {section}={table!r} in the "
                f"recipe, where {by} sets {key}. Write [{section}] above its keys."
            )
    table[leaf] = value


def _check_key(schema: type[Recipe], key: str, by: str) -> None:
    sections = dict(sections_of(schema))
    section, _, leaf = key.rpartition(".")
    if section not in sections:
        raise unknown_name(
            f"recipe section in {by} {key}",
            section or key,
            [name for name in sections if name],
            f"Sections: {', '.join(name for name in sections if name)}.",
        )
    model = sections[section]
    if key in sections:
        raise DlsuiteError(
            f"A setting names one key of a section. Received: {by} {key}, a whole section. "
            f"Its keys: {', '.join(sections[key].model_fields)}."
        )
    if leaf not in model.model_fields and not issubclass(model, OptionSection):
        known = list(model.model_fields)
        place = f"[{section}]" if section else "a recipe"
        raise unknown_name(f"key of {place}", leaf, known, f"Its keys: {', '.join(known)}.")
