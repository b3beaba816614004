"""`lesionsplit compare`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with slices.csv, or normal/ and lesion/."
)
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the runs and the report.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this entry, and the reference; may be repeated.")
@click.option("--train-only", is_flag=True, help="Train, and leave scoring for later.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Where prepared slices are kept.  [default: your cache folder]"
)
def compare(
    study: str,
    data: Path,
    out: Path,
    only: tuple[str, ...],
    train_only: bool,
    device: str,
    threads: int | None,
    cache: Path | None,
) -> int:
    """Train and score methods side by side, and write one report.

    STUDY is a .toml file, or one of the package's: figures, phantom. What is trained already is not trained
    again, so a comparison that was stopped goes on, and one with a new entry trains that alone. Two of them may
    train different entries (--only, --train-only) in one folder at a time.
    """
    from lesionsplit.console import TrainingLine, bar, say
    from lesionsplit.data.table import read_table
    from lesionsplit.memory import keep_freed_memory
    from lesionsplit.report.comparison.report import write_comparison
    from lesionsplit.study.plan import plan
    from lesionsplit.study.scoring import compare as score
    from lesionsplit.study.settings import read_study
    from lesionsplit.study.training import train_missing

    settings = read_study(study)
    entries = settings.chosen(only)
    table = read_table(data)
    settings.check(table)
    keep_freed_memory()
    finished = train_missing(
        plan(settings, entries, out),
        data,
        cache=cache,
        device=device,
        threads=threads,
        progress=bar,
        watch=lambda one: TrainingLine(one.settings.training.steps),
        say=say,
    )
    if not finished:
        say("stopped; the same command goes on from here")
        return 130
    if train_only:
        return 0
    comparison = score(settings, entries, table, out, device=device, progress=bar)
    for path in write_comparison(out, comparison, bar):
        say(str(path))
    return 0
