"""Settings of a node, from a TOML file and from environment variables."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Count, NonNegative, NonNegativeInt, Positive, Settings, from_table, merged, read_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX: Final = "LESIONSPLIT_"
"""How environment variables begin: ``LESIONSPLIT_HTTP_TOKEN`` is ``token`` of ``[http]``."""

AeTitle = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
SentObject = Literal["seg", "sr", "sc", "pdf", "map"]


class Tls(Settings, frozen=True):
    """Certificates of one listener."""

    cert: str
    key: str
    ca: str = ""
    """Given: clients must show a certificate of this authority."""


class DicomSettings(Settings, frozen=True):
    """The C-STORE listener."""

    aet: AeTitle = "LESIONSPLIT"
    bind: str = "127.0.0.1"
    port: Port = 11112
    calling_aets: tuple[AeTitle, ...] = ()
    """Who may send; empty allows everybody, on this machine only."""

    tls: Tls | None = None
    unencrypted: bool = False
    """Allows other machines to send without TLS, on a network that is trusted."""

    associations: Annotated[int, Meta(ge=1, le=1000)] = 20
    timeout_s: Positive = 30.0
    """After which a silent association is closed."""

    largest_object_mb: Count = 1024


class HttpSettings(Settings, frozen=True):
    """The page, the interface for programs, and STOW-RS."""

    bind: str = "127.0.0.1"
    port: Port = 8080
    token: str = ""
    """Programs send it as bearer token; browsers ask for it as a password, of any user."""

    tls: Tls | None = None
    largest_request_mb: Count = 1024
    public_name: str = ""
    """Name by which browsers reach the page, if it is not an address of this machine."""


class SeriesSettings(Settings, frozen=True):
    """When a series is complete, and which series are predicted."""

    quiet_s: Positive = 60.0
    """Seconds without a new slice after which a series is complete."""

    min_slices: Count = 10
    max_thickness_mm: NonNegative = 0.0
    """0 allows any."""

    description: str = ""
    """Regular expression that must be found in the series description, upper or lower case."""

    not_description: str = ""
    kernel: str = ""
    """The same for the convolution kernel."""

    one_per_study: Literal["", "thinnest", "thickest"] = ""
    """Which one series of a study is predicted; empty predicts all."""


class SendSettings(Settings, frozen=True):
    """One destination of results."""

    kind: Literal["stow", "cstore"]
    name: str = ""
    url: str = ""
    token: str = ""
    user: str = ""
    password: str = ""
    ca: str = ""
    host: str = ""
    port: Port = 104
    aet: str = ""
    tls: Tls | None = None
    objects: tuple[SentObject, ...] = ("seg", "sr", "sc")
    calling_aets: tuple[AeTitle, ...] = ()
    """Only results of series from these senders; empty sends all."""

    timeout_s: Positive = 30.0
    longest_wait_s: Positive = 600.0
    """Between attempts; the first wait is 5 seconds, each next one twice as long."""

    give_up_h: Positive = 72.0

    @property
    def label(self) -> str:
        """Names the destination on the page and in the log."""
        return self.name or self.url or f"{self.aet}@{self.host}:{self.port}"


class StoreSettings(Settings, frozen=True):
    """The working store."""

    path: str = "lesionsplit-node"
    min_free_gb: NonNegative = 5.0
    keep_days: Positive = 7.0


class ModelSettings(Settings, frozen=True):
    """What predicts."""

    weights: str = "default"
    threshold: float | str | None = None
    threads: NonNegativeInt = 0
    """0 takes all cores."""

    limit_s: Positive = 1800.0
    """Seconds after which a prediction is stopped."""

    memory_gb: NonNegative = 16.0
    """0 sets no limit."""


class NodeSettings(Settings, frozen=True):
    """All settings of a node."""

    dicom: DicomSettings = DicomSettings()
    http: HttpSettings = HttpSettings()
    series: SeriesSettings = SeriesSettings()
    send: tuple[SendSettings, ...] = ()
    store: StoreSettings = StoreSettings()
    model: ModelSettings = field(default_factory=ModelSettings)


def example() -> str:
    """A settings file with every setting, its default and what it does."""
    return (files("lesionsplit.serve") / "example.toml").read_text(encoding="utf-8")


def read_node_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> NodeSettings:
    """Read the settings of a node; environment variables win over the file.

    Raises:
        SettingsError: a setting is unknown or not allowed, or the node would be open to others without protection.
    """
    table = {} if path is None else read_toml(path)
    table = merged(table, _from_environment(environment))
    node = from_table(NodeSettings, table, source="the settings of the node" if path is None else str(path))
    _check_open(node)
    _check_expressions(node.series)
    for at, one in enumerate(node.send, 1):
        _check_send(one, f"[[send]] {at}")
    labels = [one.label for one in node.send]
    if double := {label for label in labels if labels.count(label) > 1}:
        raise SettingsError(f"[[send]]: two have the name {sorted(double)[0]!r}; give each a name of its own")
    if node.model.weights != "default" and not Path(node.model.weights).is_file():
        raise SettingsError(f"[model] weights: {node.model.weights}: no such file; give a weights file, or default")
    for tls in (node.dicom.tls, node.http.tls, *(one.tls for one in node.send)):
        for file in (tls.cert, tls.key, tls.ca) if tls else ():
            if file and not Path(file).is_file():
                raise SettingsError(f"{file}: no such file; give the certificate or key that the settings name")
    return node


def loopback(bind: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


def _check_open(node: NodeSettings) -> None:
    if not loopback(node.http.bind) and not (node.http.tls and node.http.token):
        raise SettingsError(
            f"[http] bind = {node.http.bind!r} can be reached from other machines, and tls or token is missing; set "
            "both, or bind to 127.0.0.1 behind a proxy that has them"
        )
    if loopback(node.dicom.bind):
        return
    if not node.dicom.calling_aets:
        raise SettingsError(
            f"[dicom] bind = {node.dicom.bind!r} can be reached from other machines, and calling_aets is empty; list "
            "the AE titles that may send"
        )
    if not (node.dicom.tls or node.dicom.unencrypted):
        raise SettingsError(
            f"[dicom] bind = {node.dicom.bind!r} can be reached from other machines, and tls is missing; set it, or "
            "set unencrypted = true on a network that is trusted"
        )


def _check_expressions(series: SeriesSettings) -> None:
    for name in ("description", "not_description", "kernel"):
        try:
            re.compile(getattr(series, name))
        except re.error as error:  # noqa: PERF203
            raise SettingsError(f"[series] {name}: is not a regular expression ({error})") from None


def _check_send(send: SendSettings, where: str) -> None:
    own = {"stow": ("url", "token", "user", "password", "ca"), "cstore": ("host", "aet", "tls")}
    other = own["cstore" if send.kind == "stow" else "stow"]
    if wrong := [name for name in other if getattr(send, name)]:
        raise SettingsError(f"{where}: {wrong[0]} does not apply to kind = {send.kind!r}; leave it out")
    needed = ("url",) if send.kind == "stow" else ("host", "aet")
    if missing := [name for name in needed if not getattr(send, name)]:
        raise SettingsError(f"{where}: {missing[0]} is missing; kind = {send.kind!r} needs it")
    if send.kind == "stow" and not re.match(r"https?://[^/]", send.url):
        raise SettingsError(f"{where}: url is {send.url!r}; allowed: http://... or https://...")
    if bool(send.user) != bool(send.password) or (send.user and send.token):
        raise SettingsError(f"{where}: give a token, or a user with a password, or none of them")
    if not send.objects:
        raise SettingsError(f"{where}: objects is empty; allowed: seg, sr, sc, pdf, map")


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """``LESIONSPLIT_HTTP_TOKEN=x`` as ``{"http": {"token": "x"}}``; ``LESIONSPLIT_SEND`` is a list as JSON."""
    table: dict[str, Any] = {}
    sections = {name: kind for name, kind in NodeSettings.__annotations__.items() if name != "send"}
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if name == variable.lower():
            continue
        section, _, key = name.partition("_")
        if section == "send" and not key:
            try:
                table["send"] = json.loads(text)
            except ValueError as error:
                raise SettingsError(f"{variable}: is not JSON ({error}); give a list of tables") from None
        elif section in sections and key:
            words = key in _words_of(section)
            table.setdefault(section, {})[key] = text if words else _value(text)
    return table


def _words_of(section: str) -> list[str]:
    """Settings of a section that are text: a token may look like a number."""
    kinds = {
        "dicom": DicomSettings,
        "http": HttpSettings,
        "series": SeriesSettings,
        "store": StoreSettings,
        "model": ModelSettings,
    }
    return [name for name, kind in kinds[section].__annotations__.items() if kind in ("str", "AeTitle")]


def _value(text: str) -> Any:
    """A TOML value where the text is one other than a date, else the text itself."""
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, list, dict, str)) else text
