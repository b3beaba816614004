"""The command line: a file a command; heavy imports live inside the commands, so that --help is instant."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress

import click

from lesionsplit.cli.compare import compare
from lesionsplit.cli.completion import completion
from lesionsplit.cli.evaluate import evaluate
from lesionsplit.cli.export import export
from lesionsplit.cli.guesses import Commands, advised
from lesionsplit.cli.info import info
from lesionsplit.cli.log import TraceFile, logger, show_details, show_traces, traces
from lesionsplit.cli.lungs import lungs
from lesionsplit.cli.phantom import phantom
from lesionsplit.cli.predict import predict
from lesionsplit.cli.prepare import prepare
from lesionsplit.cli.serve import serve
from lesionsplit.cli.train import train
from lesionsplit.cli.train_lungs import train_lungs
from lesionsplit.csvtext import printable
from lesionsplit.errors import LesionsplitError, log_trace, needs_training_packages, one_line, out_of_memory

UNFORESEEN = 70
"""Exit code of an unforeseen error: a fault of the program, not of its input."""

CLOSED = 141
"""Exit code where the reader of our output has gone, as of any program in a pipe."""

CODES = """\b
Exit codes:
   0  done
   1  some inputs could not be read, or not all of their results written; the others are done
   2  wrong options, no input found, a folder that cannot be written to: the line says what to do
  70  an unforeseen error; the line names a file with its trace
 130  interrupted; the same command continues
 141  the reader of the output has gone
"""


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=CODES
)
@click.version_option(None, "-V", "--version", package_name="lesionsplit")
def app() -> None:
    """Split chest CT into a healthy version and the lesion on top, learnt from image labels alone."""


def _listen(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Set how much is shown; the options stand before or after the command."""
    chosen: set[str | None] = context.meta.setdefault("lesionsplit.shown", set())
    if not given or option.name in chosen:
        return
    chosen.add(option.name)
    if {"verbose", "quiet"} <= chosen:
        raise click.UsageError("--verbose and --quiet contradict each other; give one")
    if option.name == "quiet":
        from lesionsplit.cli.console import be_quiet

        context.call_on_close(be_quiet())
    else:
        {"verbose": show_details, "debug": show_traces}[str(option.name)]()


SHOWN = tuple(
    click.Option([name, *short], is_flag=True, expose_value=False, is_eager=True, callback=_listen, help=text)
    for name, short, text in (
        ("--verbose", ("-v",), "Show details, such as the seconds of each stage."),
        ("--quiet", ("-q",), "Show errors and results only."),
        ("--debug", (), "Show the trace of every error."),
    )
)
"""How much is shown, for every command."""

COMMANDS = (predict, serve, prepare, train, evaluate, compare, export, lungs, train_lungs, phantom, info, completion)
for command in COMMANDS:
    app.add_command(command)
for command in (app, *app.commands.values()):
    command.params += SHOWN


def main() -> None:
    """Run the command line: every failure is one line on stderr and an exit code, see `CODES`."""
    atexit.register(gc.freeze)  # else the last collection visits a million objects, for most of a second
    with traces() as log:
        code = _run(log)
    sys.exit(code)


def _run(log: TraceFile) -> int:
    stdout = sys.stdout
    try:
        with needs_training_packages():
            code = app.main(standalone_mode=False)
        sys.stdout.flush()
        if log.written:
            _say(f"the traces of unforeseen errors are in {log.written}")
        return _code(code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _fail(error, advised(error))
    except (click.Abort, KeyboardInterrupt):
        return _fail(None, "interrupted", 130)
    except SystemExit as stop:  # click ends with 1 where the reader of our output has gone, and replaces the stream
        return _code(stop.code) if sys.stdout is stdout else CLOSED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  else Python fails again at its end
        return CLOSED
    except Exception as error:
        if isinstance(error, (LesionsplitError, OSError)) or out_of_memory(error):
            return _fail(error, one_line(error))
        log_trace(error, one_line(error))
        trace = f"its trace is in {log.written}" if log.written else "--debug shows its trace"
        return _fail(None, f"{one_line(error)}; {trace}; please report it", UNFORESEEN)


def _code(code: object) -> int:
    return code if isinstance(code, int) else 0


def _fail(error: Exception | None, message: str, code: int = 2) -> int:
    if error is not None:
        logger.debug("%s", message, exc_info=error)
    _say(message)
    return code


def _say(message: str) -> None:
    with suppress(BrokenPipeError):
        click.echo(f"lesionsplit: {printable(' '.join(message.split()))}", err=True)
