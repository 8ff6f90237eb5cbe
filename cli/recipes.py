"""`dlsuite recipes`: list recipes, or show one as TOML."""

import click
from rich.markup import escape

from dlsuite.cli.console import (
    check_nothing_before,
    completion,
    json_option,
    note,
    out,
    print_json,
    table,
)
from dlsuite.cli.train import recipe_options
from dlsuite.recipes.resolve import (
    json_schema,
    parse_setting,
    recipe_abouts,
    recipe_names,
    resolve,
    to_toml,
)


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List recipes, or show one as TOML.

    \b
    dlsuite recipes
    dlsuite recipes show mnist-cnn > mine.toml
    dlsuite train mine.toml
    """
    if ctx.invoked_subcommand is not None:
        check_nothing_before(ctx)
        return
    recipes = recipe_abouts()
    if as_json:
        print_json({"recipes": [{"name": n, **about.model_dump()} for n, about in recipes.items()]})
        return
    listing = table("recipe", "what it trains", "expected", "evidence")
    for name, about in recipes.items():
        listing.add_row(*map(escape, (name, about.description, about.expected, about.evidence)))
    out.print(listing)


@command.command()
@click.argument("name", shell_complete=completion(recipe_names))
@recipe_options()
@json_option
def show(name: str, settings: tuple[str, ...], as_json: bool, **options: object) -> None:
    """Print a resolved recipe as TOML that can be saved and edited.

    NAME is a built-in recipe or a TOML file; each value's comment says where it came from.

    \b
    dlsuite recipes show cifar10-resnet20
    dlsuite recipes show mnist-cnn --epochs 5 > mine.toml
    """
    resolved = resolve(name, options=options, settings=dict(map(parse_setting, settings)))
    for sentence in resolved.notes:
        note(f"Note: {sentence}")
    if as_json:
        print_json(
            {
                "name": resolved.name,
                "recipe": resolved.recipe.model_dump(),
                "origins": dict(resolved.origins),
            }
        )
    else:
        click.echo(to_toml(resolved), nl=False)


@command.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete and check TOML.

    \b
    dlsuite recipes schema > recipe.schema.json
    """
    print_json(json_schema())
