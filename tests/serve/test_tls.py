"""Encrypted ports: certificates of both sides, and who is refused without one."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from lesionsplit.serve.jobs import State

if shutil.which("openssl") is None:
    pytest.skip("openssl is not installed", allow_module_level=True)

Series = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of 127.0.0.1 by it, and one of somebody else."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", f"{name}.key"),
            *("-out", f"{name}.crt", "-subj", f"/CN={name}"),
        )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=node")
    openssl(
        *("x509", "-req", "-in", "node.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
        *("-extfile", "names", "-out", "node.crt"),
    )
    return folder


def test_senders_need_a_certificate_of_the_authority(start: Any, series: Series, certificates: Path) -> None:
    tls = {name: str(certificates / file) for name, file in (("cert", "node.crt"), ("key", "node.key"))}
    node = start({"dicom": {"tls": tls | {"ca": str(certificates / "ca.crt")}}})
    paths = series()
    assert node.send(*paths) == []  # not encrypted

    def send(name: str) -> list[int]:
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(CTImageStorage)
        association = entity.associate("127.0.0.1", node.port, ae_title="LESIONSPLIT", tls_args=(context, "127.0.0.1"))
        if not association.is_established:
            return []
        statuses = [int(association.send_c_store(pydicom.dcmread(path)).Status) for path in paths]
        association.release()
        return statuses

    assert send("stranger") == []
    assert send("node") == [0] * 4
    node.job(State.DONE)


def test_the_page_is_encrypted_and_asks_for_the_token(start: Any, certificates: Path, monkeypatch: Any) -> None:
    tls = {"cert": str(certificates / "node.crt"), "key": str(certificates / "node.key")}
    node = start({"http": {"tls": tls, "token": "secret"}})
    url = node.url.replace("http:", "https:")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, timeout=5)
    assert requests.get(url, timeout=5, verify=str(certificates / "ca.crt")).status_code == 401
    auth = ("anybody", "secret")
    assert requests.get(url, timeout=5, verify=str(certificates / "ca.crt"), auth=auth).status_code == 200


def test_results_go_to_an_archive_whose_authority_is_given(
    start: Any, series: Series, certificates: Path, tmp_path: Path
) -> None:
    """Another node stands for the archive: a segmentation is no CT image, which it accepts and does not keep."""
    tls = {"cert": str(certificates / "node.crt"), "key": str(certificates / "node.key")}
    archive = start({"http": {"tls": tls, "token": "secret"}, "store": {"path": str(tmp_path / "archive")}})
    url = f"https://127.0.0.1:{archive.node.settings.http.port}/dicom-web"
    send = {"kind": "stow", "url": url, "token": "secret", "longest_wait_s": 0.2}
    stranger = start({"send": [send | {"name": "a", "give_up_h": 0.0001}], "store": {"path": str(tmp_path / "one")}})
    stranger.send(*series())
    assert "could not be sent" in stranger.job(State.FAILED).reason
    node = start({"send": [send | {"ca": str(certificates / "ca.crt")}], "store": {"path": str(tmp_path / "two")}})
    node.send(*series())
    node.job(State.DONE)
