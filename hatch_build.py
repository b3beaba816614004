"""Fetches the volume viewer that is inlined into report pages, once, while the package is built.

NiiVue is not kept in the repository. This hook asks the npm client for the pinned release, checks it
against the hash recorded here and puts one file of it, with its licence, beside the page's template.
Without npm or a network there is a warning and no viewer; the page then says so and works otherwise.

`python hatch_build.py` does the same by hand.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called by hand, outside a build
    BuildHookInterface = object

PACKAGE = "@niivue/niivue"
VERSION = "0.69.0"
INTEGRITY = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
"""SHA-512 of the package's archive, as the registry states it."""

BUNDLE = "package/dist/niivue.umd.js"
FOLDER = Path(__file__).parent / "src" / "lesionsplit" / "report" / "page" / "vendor"
SECONDS = 180
WITHOUT = "LESIONSPLIT_WITHOUT_VIEWER"
"""Set to anything, this environment variable leaves the viewer out."""

LICENCE = f"""NiiVue {VERSION}
Copyright (c) niivue authors

Redistribution and use in source and binary forms, with or without modification, are permitted provided
that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and
   the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and
   the following disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED
WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A
PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR
ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT
LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR
TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF
ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

The file also holds parts of these packages, each under the MIT licence unless said otherwise: @lukeed/uuid,
@ungap/structured-clone (ISC), array-equal, fflate, gl-matrix, nifti-reader-js, zarrita.
"""


class ViewerError(Exception):
    """The viewer could not be had; its text says why."""


def fetch_viewer(folder: Path = FOLDER) -> Path:
    """The viewer's file in ``folder``, fetched if it is not there yet.

    Raises:
        ViewerError: npm is missing or fails, or its archive is not the one recorded here.
    """
    target = folder / "niivue.umd.js"
    if not target.is_file():
        bundle = _bundle(_archive())
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "LICENSE-niivue", LICENCE.encode())
        _write(target, bundle)  # last: where it is, the licence is
    return target


def _archive() -> bytes:
    """The package's archive, as npm fetches it."""
    npm = shutil.which("npm")
    if npm is None:
        raise ViewerError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, "--ignore-scripts"]
        command += ["--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
        try:
            # In an empty folder: no package.json or .npmrc of anyone's project takes part.
            done = subprocess.run(  # noqa: S603
                command, cwd=folder, capture_output=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ViewerError(f"npm does not answer ({type(error).__name__})") from None
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise ViewerError(f"npm pack ended with {done.returncode} and left {len(archives)} archives")
        return archives[0].read_bytes()


def _bundle(archive: bytes) -> bytes:
    """One file of the archive, in memory: nothing is unpacked to disk."""
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != INTEGRITY:
        raise ViewerError(f"the archive has SHA-512 {found}, not {INTEGRITY}")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        member = files.extractfile(BUNDLE)
        if member is None:
            raise ViewerError(f"the archive has no {BUNDLE}")
        return member.read()


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)


class ViewerHook(BuildHookInterface):  # type: ignore[misc]
    """What hatchling calls before it collects the package's files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fetch the viewer; a warning where it cannot be had."""
        if os.environ.get(WITHOUT):
            return
        try:
            fetch_viewer(Path(self.root) / FOLDER.relative_to(Path(__file__).parent))
        except (ViewerError, OSError) as error:
            self.app.display_warning(f"report pages will have no 3-D viewer: {error}; all else of them works")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logging.info("%s", fetch_viewer())
    except (ViewerError, OSError) as error:
        raise SystemExit(f"no viewer: {error}") from None
