"""Settings of a node: the example is the defaults, and a node that others could reach unprotected does not start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lesionsplit.cli import app
from lesionsplit.errors import SettingsError
from lesionsplit.serve.settings import (
    DicomSettings,
    HttpSettings,
    ModelSettings,
    NodeSettings,
    SendSettings,
    SeriesSettings,
    StoreSettings,
    example,
    loopback,
    read_node_settings,
)
from lesionsplit.settings import to_toml


def read(tmp_path: Path, text: str, **environment: str) -> NodeSettings:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return read_node_settings(path, environment)


def test_the_example_is_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, example()) == NodeSettings()


def test_the_example_has_every_setting() -> None:
    for name, kind in (
        ("dicom", DicomSettings),
        ("http", HttpSettings),
        ("series", SeriesSettings),
        ("send", SendSettings),
        ("store", StoreSettings),
        ("model", ModelSettings),
    ):
        section = re.search(rf"^#? ?\[+{name}\]+.*?(?=^#? ?\[+\w+\]+|\Z)", example(), re.DOTALL | re.MULTILINE)
        assert section
        for key in kind.__struct_fields__:
            commented = {"tls": "[", "name": "", "user": "or user", "password": "password"}.get(key, f"{key} =")
            assert commented in example(), f"[{name}] {key}"


def test_the_commented_parts_of_the_example_are_settings(tmp_path: Path) -> None:
    """Without the number signs, they are read; certificates that are there."""
    lines = [re.sub(r"^# (?=\[|[a-z_]+ = )", "", line) for line in example().splitlines()]
    text = "\n".join(lines)
    for name in ("node.crt", "node.key", "hospital-ca.crt"):
        (tmp_path / name).write_text("")
        text = text.replace(f'"{name}"', f'"{tmp_path / name}"')
    node = read(tmp_path, text)
    assert [one.kind for one in node.send] == ["stow", "cstore"]
    assert node.dicom.tls is not None
    assert node.model.threshold == "specific"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dicom]\nporl = 1", "porl"),
        ("[dicom]\nport = 0", "port"),
        ("[dicom]\nport = 65536", "port"),
        ('[dicom]\naet = "A NAME THAT IS TOO LONG"', "aet"),
        ('[dicom]\naet = "   "', "aet"),
        ("[series]\nquiet_s = 0.0", "quiet_s"),
        ("[series]\nquiet_s = nan", "quiet_s"),
        ('[series]\ndescription = "("', "regular expression"),
        ('[series]\none_per_study = "best"', "one_per_study"),
        ('[http]\nbind = "0.0.0.0"', "tls or token"),
        ('[http]\nbind = "0.0.0.0"\ntoken = "x"', "tls or token"),
        ('[http]\nbind = "::"\n', "tls or token"),
        ('[http]\nbind = "node.example.org"\n', "tls or token"),
        ('[dicom]\nbind = "0.0.0.0"', "calling_aets is empty"),
        ('[dicom]\nbind = "0.0.0.0"\ncalling_aets = ["CT"]', "tls is missing"),
        ('[http.tls]\ncert = "none.crt"\nkey = "none.key"', "none.crt: no such file"),
        ('[[send]]\nkind = "stow"', "url is missing"),
        ('[[send]]\nkind = "stow"\nurl = "ftp://x"', "allowed: http"),
        ('[[send]]\nkind = "stow"\nurl = "http://x"\nhost = "y"', "host does not apply"),
        ('[[send]]\nkind = "cstore"\nhost = "x"', "aet is missing"),
        ('[[send]]\nkind = "cstore"\nhost = "x"\naet = "Y"\nurl = "http://x"', "url does not apply"),
        ('[[send]]\nkind = "stow"\nurl = "http://x"\nuser = "a"', "user with a password"),
        ('[[send]]\nkind = "stow"\nurl = "http://x"\nobjects = []', "objects is empty"),
        ('[[send]]\nkind = "stow"\nurl = "http://x"\nobjects = ["png"]', "objects"),
        ('[[send]]\nkind = "stow"\nurl = "http://x"\n' * 2, "two have the name"),
        ('[[send]]\nkind = "mail"', "kind"),
        ("[store]\nkeep_days = -1.0", "keep_days"),
        ('[model]\nweights = "none.safetensors"', "none.safetensors: no such file"),
        ("[model", "not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        read(tmp_path, text)


def test_protected_nodes_may_be_reached(tmp_path: Path) -> None:
    for name in ("a.crt", "a.key"):
        (tmp_path / name).write_text("")
    tls = f'tls = {{cert = "{tmp_path}/a.crt", key = "{tmp_path}/a.key"}}'
    read(tmp_path, f'[http]\nbind = "0.0.0.0"\ntoken = "secret"\n{tls}')
    read(tmp_path, f'[dicom]\nbind = "0.0.0.0"\ncalling_aets = ["CT"]\n{tls}')
    read(tmp_path, '[dicom]\nbind = "0.0.0.0"\ncalling_aets = ["CT"]\nunencrypted = true')


@pytest.mark.parametrize(
    ("bind", "private"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
    ],
)
def test_what_this_machine_alone_can_reach(bind: str, private: bool) -> None:
    assert loopback(bind) is private


def test_the_environment_wins(tmp_path: Path) -> None:
    send: list[dict[str, Any]] = [{"kind": "stow", "url": "http://127.0.0.1/x", "token": "t"}]
    node = read(
        tmp_path,
        "[http]\nport = 8001\n[series]\nquiet_s = 5.0",
        LESIONSPLIT_HTTP_PORT="8002",
        LESIONSPLIT_HTTP_TOKEN="20261130",
        LESIONSPLIT_DICOM_CALLING_AETS='["CT1", "CT2"]',
        LESIONSPLIT_SEND=json.dumps(send),
        LESIONSPLIT_UNRELATED="x",
        PATH="/bin",
    )
    assert (node.http.port, node.http.token, node.series.quiet_s) == (8002, "20261130", 5.0)
    assert node.dicom.calling_aets == ("CT1", "CT2")
    assert node.send[0].token == "t"
    with pytest.raises(SettingsError, match="LESIONSPLIT_SEND: is not JSON"):
        read(tmp_path, "", LESIONSPLIT_SEND="[")
    with pytest.raises(SettingsError, match="prt"):
        read(tmp_path, "", LESIONSPLIT_HTTP_PRT="1")


def test_the_command_prints_and_checks_settings(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["serve", "--example"])
    assert printed.stdout == example()
    path = tmp_path / "node.toml"
    path.write_text(to_toml(NodeSettings()))
    assert CliRunner().invoke(app, ["serve", "--config", str(path), "--check"]).stdout == "the settings are in order\n"
    assert isinstance(CliRunner().invoke(app, ["serve", "--config", "none.toml"]).exception, SettingsError)
