"""Pages of any origin may ask a node: the portal lives at its own origin and talks to every node (CORS, Fetch standard).

Nothing here rests on where a question comes from: no cookies, no logins, whoever may do something signs it. So the answer to a browser
that asks is always yes, without credentials. What a node shows to its operator alone (`/metrics`) is not among it: a page the operator
happens to look at must not read it.

What is answered before or outside this (a fault of the node, the port's own refusals) gets the header where it is made:
`service/http.py:surprise_read_by`, `app/serving.py`.
"""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

ANY_ORIGIN = "*"
PUBLIC_PREFIX = "/v1/"
PREFLIGHT_LIFE_S = 86_400
"""How long a browser may remember that it may ask."""


class AnyOrigin:
    """ASGI middleware: the public routes answer to pages of any origin, the others as if no page had asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._public = CORSMiddleware(
            app, allow_origins=[ANY_ORIGIN], allow_methods=["GET", "POST"], allow_headers=["content-type"], max_age=PREFLIGHT_LIFE_S
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        public = scope["type"] == "http" and scope["path"].startswith(PUBLIC_PREFIX)
        await (self._public if public else self._app)(scope, receive, send)
