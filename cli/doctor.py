"""`dlsuite doctor`: check this machine and installation."""

from dataclasses import asdict

import click
from rich.markup import escape

from dlsuite import diagnosis, environment
from dlsuite.cli.console import err, json_option, out, print_json, table

_MARKS = {
    "ok": "[green]ok[/green]",
    "absent": "[dim]absent[/dim]",
    "warning": "[yellow]warning[/yellow]",
    "failed": "[red]failed[/red]",
}


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and installation.

    Looks at versions, driver, each CUDA package and library, disk and memory, and computes a
    little on each device, with XLA and without. Exits with 1 if something essential fails.

    \b
    dlsuite doctor
    dlsuite doctor --json
    """
    with err.status("Checking (TensorFlow takes some seconds to start)"):
        checks = list(diagnosis.all_checks())
        works = all(check.status != "failed" for check in checks)
        started = any(check.name == "TensorFlow" and check.status == "ok" for check in checks)
        described = environment.describe(devices=started)
    if as_json:
        print_json(
            {"ok": works, "checks": [asdict(check) for check in checks], "environment": described}
        )
    else:
        shown = table("check", "", "result", "what to do")
        for check in checks:
            shown.add_row(
                check.name, _MARKS[check.status], escape(check.result), escape(check.remedy)
            )
        out.print(shown)
    if not works:
        ctx.exit(1)
