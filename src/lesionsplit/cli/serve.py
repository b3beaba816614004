"""`lesionsplit serve`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionsplit.cli.options import FILE


@click.command()
@click.option("--config", type=FILE, help="Settings of the node (.toml).  [default: all defaults]")
@click.option("--example", is_flag=True, help="Print settings with comments, and end.")
@click.option("--check", is_flag=True, help="Check the settings, and end.")
def serve(config: Path | None, example: bool, check: bool) -> None:
    """Receive series from a PACS, predict them and send the results: a node that works unattended.

    Slices arrive by C-STORE or STOW-RS. When none has come for a while, the series is predicted; segmentation, report
    and pictures are sent to the destinations of the settings. A page at http://127.0.0.1:8080/ shows every series.

    SIGTERM or Ctrl-C lets the series being predicted end. Whatever was under way goes on at the next start.

    Needs: pip install 'lesionsplit[serve]'
    """
    from lesionsplit.errors import SettingsError

    if example and (config or check):
        raise click.UsageError("--example stands alone")
    from lesionsplit.serve.settings import example as example_text
    from lesionsplit.serve.settings import read_node_settings

    if example:
        click.echo(example_text(), nl=False)
        return
    settings = read_node_settings(config)
    if check:
        click.echo("the settings are in order")
        return
    try:
        from lesionsplit.serve.node import Node
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed; it comes with: pip install 'lesionsplit[serve]'") from None
    from lesionsplit.serve.log import log_to_terminal

    log_to_terminal()
    Node(settings).run()
