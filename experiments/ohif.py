"""Show the results of a node in OHIF, in headless Chromium, and take pictures.

    npm pack @ohif/app@3.13.2 && tar xzf ohif-app-3.13.2.tgz
    python experiments/ohif.py package/dist http://127.0.0.1:8042/dicom-web STUDY_UID out/

It serves OHIF's static files and the archive's DICOMweb under one address, so that the browser allows both.
"""

from __future__ import annotations

import argparse
import mimetypes
import shutil
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONFIG = """window.config = {
  routerBasename: "/", showStudyList: true, extensions: [], modes: [], showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, investigationalUseDialog: { option: "never" }, defaultDataSourceName: "dicomweb",
  disableConfirmationPrompts: true,
  dataSources: [{ namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb",
    configuration: { friendlyName: "archive", name: "archive", wadoUriRoot: "/dicom-web", qidoRoot: "/dicom-web",
      wadoRoot: "/dicom-web", qidoSupportsIncludeField: false, imageRendering: "wadors", thumbnailRendering: "wadors",
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      omitQuotationForMultipartRequest: true } }] };"""


def serve(dist: Path, archive: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/dicom-web"):
                given = {"Accept": self.headers.get("Accept", "*/*")}
                request = urllib.request.Request(archive + self.path.removeprefix("/dicom-web"), headers=given)  # noqa: S310
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                        self._answer(answer.status, answer.headers["Content-Type"], answer.read())
                except urllib.error.HTTPError as error:
                    self._answer(error.code, "text/plain", error.read())
                return
            name = self.path.partition("?")[0].lstrip("/")
            if name == "app-config.js":
                self._answer(200, "text/javascript", CONFIG.encode())
                return
            path = dist / name
            if not name or not path.is_file():
                path = dist / "index.html"
            self._answer(200, mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.read_bytes())

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("Cross-Origin-Opener-Policy", "same-origin"),
                ("Cross-Origin-Embedder-Policy", "require-corp"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    from playwright.sync_api import sync_playwright

    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("dist", type=Path)
    given.add_argument("archive")
    given.add_argument("study")
    given.add_argument("out", type=Path)
    options = given.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    server = serve(options.dist, options.archive)
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.on("console", lambda message: message.type == "error" and print("console:", message.text[:300]))
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/viewer?StudyInstanceUIDs={options.study}")
        page.locator('[data-cy^="study-browser-thumbnail"]').first.wait_for(timeout=120_000)
        page.wait_for_timeout(20_000)
        page.evaluate("document.querySelectorAll('[class*=shepherd]').forEach((one) => one.remove())")  # the tour
        page.screenshot(path=options.out / "start.png")
        for modality in ("SEG", "SR", "OT"):
            show(page, modality)
            page.wait_for_timeout(15_000)
            panel = page.locator('[data-cy*="easurement"][data-cy$="btn"]')
            if modality == "SR" and panel.count():
                panel.last.click()
                page.wait_for_timeout(3000)
            page.screenshot(path=options.out / f"{modality.lower()}.png")
        browser.close()
    server.shutdown()


def show(page: Any, modality: str) -> None:
    """Open a series of the panel of the study."""
    entries = page.locator('[data-cy^="study-browser-thumbnail"]')
    for at in range(entries.count()):
        if modality in entries.nth(at).inner_text().split():
            entries.nth(at).scroll_into_view_if_needed()
            entries.nth(at).dblclick()
            page.wait_for_timeout(4000)
            for answer in ("Yes", "Hydrate", "Load"):
                button = page.get_by_role("button", name=answer, exact=True)
                if button.count():
                    button.first.click()
            return
    print(f"no {modality} is listed:", entries.all_inner_texts())


if __name__ == "__main__":
    main()
