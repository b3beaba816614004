"""The routes."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from lesionsplit.errors import DataError
from lesionsplit.pipeline.options import FILES
from lesionsplit.report.html import environment
from lesionsplit.serve.instances import NoRoomError
from lesionsplit.serve.jobs import ENDED, Job, State
from lesionsplit.serve.stow import Taking, TooLargeError, boundary, receive
from lesionsplit.serve.uploads import take_upload
from lesionsplit.serve.web.guard import Guard
from lesionsplit.serve.web.rows import row_of

if TYPE_CHECKING:
    from lesionsplit.serve.node import Node

logger = logging.getLogger(__name__)

PACKAGE: Final = "lesionsplit.serve.web"
TYPES: Final = {"node.css": "text/css", "node.js": "text/javascript"}
DICOM_JSON: Final = "application/dicom+json"


def application(node: Node) -> Starlette:
    """The web application of a node."""
    pages = Pages(node)
    routes = [
        Route("/", pages.index),
        Route("/rows", pages.rows),
        Route("/health", pages.health),
        Route("/ready", pages.ready),
        Route("/metrics", pages.metrics),
        Route("/static/{name}", pages.static),
        Route("/files", pages.upload, methods=["POST"]),
        Route("/series", pages.list_series),
        Route("/series/{series}", pages.one_series),
        Route("/series/{series}/report.html", pages.report),
        Route("/series/{series}/{action:str}", pages.act, methods=["POST"]),
        Route("/dicom-web/studies", pages.stow, methods=["POST"]),
        Route("/dicom-web/studies/{study}", pages.stow, methods=["POST"]),
    ]
    guard = Middleware(Guard, settings=node.settings.http)
    return Starlette(routes=routes, middleware=[guard], exception_handlers={Exception: _unforeseen})


class Pages:
    """What each route does."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # For people

    def index(self, request: Request) -> Response:
        """The page."""
        table = self._table(request)
        page = environment(PACKAGE).get_template("index.html.j2")
        settings = self.node.settings
        text = page.render(
            table=table,
            words=request.query_params.get("q", ""),
            version=version("lesionsplit"),
            aet=settings.dicom.aet,
            port=settings.dicom.port,
            destinations=[one.label for one in settings.send],
        )
        return Response(text, media_type="text/html")

    def rows(self, request: Request) -> Response:
        """The table alone, which the page asks for again and again."""
        table = self._table(request)
        tag = f'"{hashlib.sha256(table.encode()).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(table, media_type="text/html", headers={"ETag": tag})

    def _table(self, request: Request) -> str:
        words = request.query_params.get("q", "")
        jobs = self.node.jobs.search(words)
        counts = self.node.jobs.counts()
        waiting = sum(count for state, count in counts.items() if state not in ENDED)
        shown = [row_of(job, has_report=self._report_of(job).is_file()) for job in jobs]
        return (
            environment(PACKAGE)
            .get_template("rows.html.j2")
            .render(rows=shown, words=words, waiting=waiting, problem=self.node.problem(), most=len(jobs) == 200)
        )

    def static(self, request: Request) -> Response:
        """Style and script."""
        name = request.path_params["name"]
        if name not in TYPES:
            return PlainTextResponse("not found\n", 404)
        return Response((files(PACKAGE) / name).read_text("utf-8"), media_type=TYPES[name])

    def report(self, request: Request) -> Response:
        """The page of a result."""
        job = self.node.jobs.latest(request.path_params["series"])
        if job is None or not (path := self._report_of(job)).is_file():
            return PlainTextResponse("there is no report of this series\n", 404)
        return FileResponse(path, media_type="text/html", content_disposition_type="inline")

    def _report_of(self, job: Job) -> Any:
        return self.node.store.result(job) / FILES["page"]

    # For programs

    def list_series(self, request: Request) -> Response:
        """The newest job of each series."""
        return JSONResponse([_json(job) for job in self.node.jobs.search(request.query_params.get("q", ""))])

    def one_series(self, request: Request) -> Response:
        """The newest job of one series."""
        job = self.node.jobs.latest(request.path_params["series"])
        return PlainTextResponse("there is no such series\n", 404) if job is None else JSONResponse(_json(job))

    def act(self, request: Request) -> Response:
        """Begin a job again, or end it."""
        action, series = request.path_params["action"], request.path_params["series"]
        if action not in ("retry", "cancel"):
            return PlainTextResponse("allowed: retry, cancel\n", 404)
        job = self.node.jobs.latest(series)
        if job is None:
            return PlainTextResponse("there is no such series\n", 404)
        if not (self.node.retry(job) if action == "retry" else self.node.cancel(job)):
            return PlainTextResponse(f"a job that is {job.state.value} cannot {action}\n", 409)
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/", 303)
        after = self.node.jobs.get(job.number)
        return JSONResponse(_json(after or job))

    async def upload(self, request: Request) -> Response:
        """A file as the body of a request, its name in ``?name=``."""
        name = request.query_params.get("name", "")
        largest = self.node.settings.http.largest_request_mb << 20
        size = 0
        try:
            if not name:
                raise DataError("the name of the file is missing; give it as ?name=scan.nii.gz")
            self.node.check_accepts()
            with self.node.store.temporary() as folder:
                path = folder / "upload"
                with path.open("wb") as file:
                    async for piece in request.stream():
                        size += len(piece)
                        if size > largest:
                            raise TooLargeError(f"is larger than {largest >> 20} MB, which largest_request_mb allows")
                        if size % (64 << 20) < len(piece):
                            self.node.store.check_room()
                        file.write(piece)
                if not size:
                    raise DataError("the file is empty")
                taken = await run_in_threadpool(take_upload, path, name, self.node.store, self.node.metrics)
                self.node.completing.hurry(taken.series)
        except ClientDisconnect:
            return Response(status_code=400)
        except DataError as error:
            return _refusal(error)
        return JSONResponse(dataclasses.asdict(taken), 202)

    async def stow(self, request: Request) -> Response:
        """STOW-RS: DICOM files as parts of a request."""
        largest = self.node.settings.http.largest_request_mb << 20
        try:
            separator = boundary(request.headers.get("content-type", ""))
            self.node.check_accepts()
            announced = request.headers.get("content-length", "0")
            if announced.isdigit() and int(announced) > largest:
                raise TooLargeError(f"is larger than {largest >> 20} MB, which largest_request_mb allows")
            with self.node.store.temporary() as folder:
                taking = Taking(self.node.store, self.node.metrics, folder)
                await receive(request.stream(), separator, taking, largest)
                status, answer = taking.answer()
        except ClientDisconnect:
            return Response(status_code=400)
        except DataError as error:
            return _refusal(error)
        return JSONResponse(answer, status, media_type=DICOM_JSON)

    def health(self, _: Request) -> Response:
        """Whether every thread lives."""
        dead = self.node.dead()
        return PlainTextResponse(f"ended: {', '.join(dead)}\n" if dead else "ok\n", 500 if dead else 200)

    def ready(self, _: Request) -> Response:
        """Whether series can be received and predicted."""
        problem = self.node.problem()
        return PlainTextResponse(f"{problem or 'ok'}\n", 503 if problem else 200)

    def metrics(self, _: Request) -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(self.node.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _unforeseen(_: Request, error: Exception) -> Response:
    logger.error("a request met an unforeseen error", exc_info=error)
    return PlainTextResponse("the node met an unforeseen error; its log has the trace\n", 500)


def _refusal(error: DataError) -> Response:
    status = 413 if isinstance(error, TooLargeError) else 507 if isinstance(error, NoRoomError) else 400
    return PlainTextResponse(f"{error}\n", status, {"Connection": "close"})


def _json(job: Job) -> dict[str, Any]:
    plain = dataclasses.asdict(job)
    plain["state"] = State(job.state).value
    for name in ("fingerprint", "words"):
        plain.pop(name)
    return plain
