"""Answers to a mistaken command line: the command or option that was probably meant."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from pathlib import Path

import click

COMMANDS = {
    "--help": ("help",),
    "--version": ("version",),
    "evaluate": ("eval", "metrics", "score", "test", "validate"),
    "export": ("convert", "onnx"),
    "info": ("cache", "check", "config", "devices", "doctor", "list", "models", "status", "weights"),
    "phantom": ("demo", "example", "examples", "sample"),
    "predict": ("analyse", "analyze", "apply", "detect", "find", "infer", "inference", "run", "segment"),
    "train": ("fit", "finetune", "resume"),
}
"""Words that people try, by what does it."""

OPTIONS = {
    "--device cpu": ("--cpu",),
    "--device cuda": ("--cuda", "--gpu"),
    "--out": ("--destination", "--output", "--output-dir", "--outdir"),
    "--steps": ("--epochs", "--iterations"),
    "--weights": ("--checkpoint", "--model"),
    "the command completion": ("--install-completion", "--show-completion"),
}
"""The same for options."""


class Commands(click.Group):
    """A group that names the right command where a wrong one was given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of a name; a usage error that suggests one if there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command {name!r}; {self._meant(name)}", ctx)
        return super().resolve_command(ctx, args)

    def _meant(self, name: str) -> str:
        if Path(name).exists() or Path(name).suffix:
            return f"to predict a scan: lesionsplit predict {shlex.quote(name)}"
        if known := _meant(name, COMMANDS):
            return f"use lesionsplit {known}"
        if close := get_close_matches(name, self.commands, n=1):
            return f"did you mean lesionsplit {close[0]}?"
        return f"commands: {', '.join(sorted(self.commands))}"


def advised(error: click.ClickException) -> str:
    """The message of an error in the command line, with what is right instead."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if context is None:
        return message
    if isinstance(error, click.NoSuchOption):
        known = _meant(error.option_name, OPTIONS)
        options = [option for one in context.command.params for option in one.opts]
        if known and (known.split()[0] in options or not known.startswith("-")):
            return f"no option {error.option_name!r}; use {known}"
        return f"no option {error.option_name!r}; {context.command_path} --help lists what there is"
    if isinstance(error, click.MissingParameter) or "unexpected extra argument" in message:
        usage = " ".join((context.command_path, *context.command.collect_usage_pieces(context)))
        return f"{message.rstrip('.')}; usage: {usage}"
    return message


def _meant(word: str, known: dict[str, tuple[str, ...]]) -> str | None:
    return next((right for right, tried in known.items() if word in tried), None)
