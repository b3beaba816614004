"""Commands that a stranger would guess: each is answered with the one that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.cli import app, main
from lesionsplit.cli.guesses import COMMANDS, OPTIONS


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("doctor", "no command 'doctor'; use lesionsplit info"),
        ("version", "no command 'version'; use lesionsplit --version"),
        ("help predict", "no command 'help'; use lesionsplit --help"),
        ("segment scan.nii.gz", "no command 'segment'; use lesionsplit predict"),
        ("scan.nii.gz", "no command 'scan.nii.gz'; to predict a scan: lesionsplit predict scan.nii.gz"),
        ("series", "no command 'series'; to predict a scan: lesionsplit predict series"),
        ("predikt scan.nii.gz", "no command 'predikt'; did you mean lesionsplit predict?"),
        (
            "xyz",
            "no command 'xyz'; commands: compare, completion, evaluate, export, info, lungs, phantom, predict, "
            "prepare, serve, train, train-lungs",
        ),
        ("predict scan.nii.gz --gpu", "no option '--gpu'; use --device cuda"),
        ("predict scan.nii.gz --model m", "no option '--model'; use --weights"),
        ("predict scan.nii.gz --output out", "no option '--output'; use --out"),
        ("train slices --epochs 10", "no option '--epochs'; use --steps"),
        ("phantom drawn --epochs 10", "no option '--epochs'; lesionsplit phantom --help lists what there is"),
        ("--install-completion", "no option '--install-completion'; use the command completion"),
        ("predict", "Missing argument 'INPUT...'; usage: lesionsplit predict [OPTIONS] INPUT..."),
        ("compare drawn", "Missing argument 'DATA'; usage: lesionsplit compare [OPTIONS] COMPARISON DATA"),
        ("info x", "Got unexpected extra argument (x); usage: lesionsplit info [OPTIONS]"),
    ],
)
def test_a_mistaken_command_is_answered_with_the_right_one(
    words: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lesionsplit", *words.split()])
    Path("series").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"lesionsplit: {answer}\n"


def test_what_is_suggested_exists() -> None:
    found = (option for command in app.commands.values() for one in command.params for option in one.opts)
    options = {option for option in found if option.startswith("-")}
    top = {option for one in app.params for option in one.opts} | {"--help"}
    assert {one for one in COMMANDS if not one.startswith("-")} <= set(app.commands)
    assert {one for one in COMMANDS if one.startswith("-")} <= top
    assert {one.split()[0] for one in OPTIONS if one.startswith("-")} <= options
    tried = [word for words in (*COMMANDS.values(), *OPTIONS.values()) for word in words]
    assert not {*tried} & {*app.commands, *options}
    assert len(tried) == len(set(tried))
