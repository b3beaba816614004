"""Who may do what over HTTP."""

from __future__ import annotations

import base64
import hmac
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lesionsplit.serve.settings import HttpSettings

OPEN: Final = ("/health", "/ready")
"""What load balancers ask without a token."""

HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with "no-referrer", forms have no origin
    (b"x-frame-options", b"SAMEORIGIN"),
]


class Guard:
    """Asks for the token; refuses requests that another website makes in a user's browser."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def with_headers(message: dict) -> None:  # type: ignore[type-arg]
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in given)]
            await send(message)

        await self.app(scope, receive, with_headers)  # type: ignore[arg-type]

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if not self._known(host):
            return PlainTextResponse("this name is not the node's; set public_name of [http]\n", 421)
        if scope["path"] not in OPEN and not self._allowed(headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Basic realm="lesionsplit", charset="UTF-8"'}
            return PlainTextResponse("give the token of the node\n", 401, challenge)
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin and origin.partition("://")[2] != host:
            return PlainTextResponse("requests from other websites are refused\n", 403)
        return None

    def _known(self, host: str) -> bool:
        """Whether the host that a browser asked for is ours: a page elsewhere may have a name that leads here."""
        if self.settings.token:
            return True  # which such a page does not know
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name.strip("[]") in {"localhost", "127.0.0.1", "::1", self.settings.bind, self.settings.public_name}

    def _allowed(self, given: str) -> bool:
        token = self.settings.token
        if not token:
            return True
        kind, _, value = given.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(value.encode(), token.encode())
