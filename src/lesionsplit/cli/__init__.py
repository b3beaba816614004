"""The command line: a file a command; heavy imports live inside the commands, so that --help is instant."""

from __future__ import annotations

import sys

import click

from lesionsplit.cli.compare import compare
from lesionsplit.cli.evaluate import evaluate
from lesionsplit.cli.export import export
from lesionsplit.cli.lungs import lungs
from lesionsplit.cli.phantom import phantom
from lesionsplit.cli.predict import predict
from lesionsplit.cli.train import train
from lesionsplit.cli.train_lungs import train_lungs
from lesionsplit.errors import LesionsplitError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lesionsplit")
def app() -> None:
    """Take chest CT slices apart into healthy lung and lesion, having learnt from image labels alone."""


for command in (train, evaluate, compare, predict, lungs, train_lungs, phantom, export):
    app.add_command(command)


def main() -> None:
    """Run the command line; whatever was foreseen to go wrong is one line on stderr and exit code 2."""
    try:
        code = app.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except LesionsplitError as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("lesionsplit: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone
        sys.exit(141)
    except OSError as error:  # a full disk, a folder that may not be read
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    click.echo(f"lesionsplit: {' '.join(message.split())}", err=True)
    sys.exit(2)
