"""Names that users type, known without importing what they name.

Every module of a registered package may declare a literal list ``ENTRIES`` of dictionaries
with ``name``, ``description`` and ``source`` (other keys are kept as details). The registry
reads it from the syntax tree, so a listing or a completion costs milliseconds and no
TensorFlow; the module is imported when a name is used. Adding a thing is adding one file.

A row stands for the function of its name, or for the one that it names as ``function``. A family
is one row with ``variants``, a list of dictionaries: each is filled into the row's texts
(``"resnet{depth}"``) and handed to the function as far as it takes these arguments.

Other packages register through entry points of the group ``dlsuite.<kind>s``: the entry
point's name is the name users type and its value the function.
"""

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlsuite.errors import DlsuiteError, unknown_name


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes:
        name: what users type.
        module: the module that holds the function of that name.
        description: one line.
        source: paper, equation or table.
        options: the function's keyword-only arguments and their defaults, as literals.
        details: whatever else the entry declares.
        function: the function's name in the module.
        arguments: what makes the function this one of its family.
    """

    name: str
    module: str
    description: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    function: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Registry(Mapping[str, Entry]):
    """The entries of one package, by name.

    Args:
        kind: what is registered, in the singular, as error messages call it.
        package: the dotted name of the package whose modules declare entries.
        reserved: keyword-only arguments that the caller passes and users don't set.
        listing: the command that lists the names; unset is the kind in the plural.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        reserved: tuple[str, ...] = (),
        listing: str | None = None,
    ):
        self.kind = kind
        self.package = package
        self._reserved = reserved
        self._listing = listing or f"dlsuite {kind}s"

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        # find_spec imports parent packages only, never the modules themselves
        folder = Path(importlib.util.find_spec(self.package).submodule_search_locations[0])
        for path in sorted(folder.glob("*.py")):
            for entry in self._declared(path):
                if entry.name in entries:
                    raise RuntimeError(
                        f"Two modules register the {self.kind} {entry.name!r}: "
                        f"{entries[entry.name].module} and {entry.module}."
                    )
                entries[entry.name] = entry
        for point in importlib.metadata.entry_points(group=f"dlsuite.{self.kind}s"):
            if point.name in entries:
                raise DlsuiteError(
                    f"A plug-in may not replace a built-in {self.kind}. Received: {point.value!r} "
                    f"registers {point.name!r}. Uninstall the package or have it use another name."
                )
            entries[point.name] = Entry(
                point.name, point.module, "from a plug-in", point.value, function=point.attr
            )
        return entries

    def register(self, entry: Entry) -> None:
        """Adds a name for the rest of this process; the same entry may be added again.

        Raises:
            DlsuiteError: the name is taken by another thing.
        """
        if self._entries.get(entry.name, entry) != entry:
            raise DlsuiteError(
                f"A plug-in may not replace another {self.kind}. Received: {entry.module!r} "
                f"registers {entry.name!r}. Give it another name."
            )
        self._entries[entry.name] = entry

    def _declared(self, path: Path) -> Iterator[Entry]:
        source = path.read_text(encoding="utf-8")
        if "ENTRIES" not in source:
            return
        tree = ast.parse(source)
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ENTRIES":
                for row in ast.literal_eval(node.value):
                    for variant in row.pop("variants", [{}]):
                        yield self._entry(f"{self.package}.{path.stem}", row, variant, functions)

    def _entry(
        self,
        module: str,
        row: Mapping[str, Any],
        variant: Mapping[str, Any],
        functions: Mapping[str, ast.FunctionDef],
    ) -> Entry:
        details = {
            key: value.format(**variant) if variant and isinstance(value, str) else value
            for key, value in row.items()
        }
        name = details.pop("name")
        function = details.pop("function", name.replace("-", "_"))
        keywords = _keyword_only(functions[function]) if function in functions else {}
        options = {
            key: value
            for key, value in keywords.items()
            if key not in self._reserved and key not in variant
        }
        return Entry(
            name=name,
            module=module,
            description=details.pop("description"),
            source=details.pop("source"),
            options=details.pop("options", options),
            details=details,
            function=function,
            arguments={key: value for key, value in variant.items() if key in keywords},
        )

    def _plug_in_options(self, name: str) -> dict[str, Any]:
        """Options of what another package registered, whose source isn't read but run."""
        if self[name].module.startswith("dlsuite."):
            return {}
        return {
            parameter.name: parameter.default
            for parameter in inspect.signature(self.load(name)).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in self._reserved
        }

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(
                self.kind, name, self._entries, f"List them with `{self._listing}`."
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Callable[..., Any]:
        """Imports the module of a name and returns its function.

        Raises:
            DlsuiteError: the name is not registered.
        """
        entry = self[name]
        function = getattr(importlib.import_module(entry.module), entry.function)
        return functools.partial(function, **entry.arguments) if entry.arguments else function

    def check_options(
        self, name: str, received: Mapping[str, Any], where: str, *, declared: Iterable[str] = ()
    ) -> None:
        """Checks that each received option is one that the named thing takes.

        Args:
            name: a registered name.
            received: options by name.
            where: the recipe section that holds them, for the message.
            declared: the section's own keys, which a misspelt one may mean as well.

        Raises:
            DlsuiteError: an option has a name that the thing doesn't know.
        """
        known = self._plug_in_options(name) or self[name].options
        for option in received:
            if option not in known:
                keys = [*known, *declared]
                remedy = f"It takes: {', '.join(keys) or 'none'}."
                kind = f"option of the {self.kind} {name!r}"
                raise unknown_name(kind, option, keys, remedy)


def _keyword_only(function: ast.FunctionDef) -> dict[str, Any]:
    """A function's keyword-only arguments and their defaults; None where there is none."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {
        argument.arg: None if default is None else ast.literal_eval(default)
        for argument, default in pairs
    }
