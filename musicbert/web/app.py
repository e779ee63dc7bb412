"""The server: routes, limits, and what a browser may do with the page.

Each question is a POST of a MIDI file to ``/api/QUESTION``; its name and wishes are in the header
``X-Question`` (JSON, percent-encoded). The answer is JSON, or a WAV file. Errors are JSON with ``error``, a
sentence, and ``hint``.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as TooSlow
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from socket import socket
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pebble import ProcessExpired
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from musicbert.errors import MusicBertError
from musicbert.web import work
from musicbert.web.pool import FullError, Pool

logger = logging.getLogger(__name__)

#: bytes of a MIDI file, and of the header with the wishes
MOST_BYTES, MOST_HEADER = 8 << 20, 4096
#: files of the page
_STATIC = {
    "page.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "roll.js": "text/javascript",
}
#: the page loads, asks and shows nothing from elsewhere
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SLOW = "This took too long and was stopped."


def make_app(
    pool: Pool, *, hosts: tuple[str, ...] = ("127.0.0.1", "localhost"), index: str | None = None
) -> Starlette:
    """Make the application.

    ``pool``: where questions are answered; ``hosts``: names under which the page may be called;
    ``index``: folder of `musicbert index`, for similar pieces.
    """

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "page.html")
        if name not in _STATIC:
            return _error(404, "There is no such page.")
        content = files("musicbert.web").joinpath("static", name).read_bytes()
        return Response(content, media_type=_STATIC[name])

    async def about(_: Request) -> Response:
        return JSONResponse(
            {"examples": work.examples(), "similar": index is not None, "most_bytes": MOST_BYTES}
        )

    async def example(request: Request) -> Response:
        return await _answered(pool.run(work.example, request.path_params["name"]))

    async def ask(request: Request) -> Response:
        question = request.path_params["question"]
        if question not in work.QUESTIONS and not (question == "similar" and index is not None):
            return _error(404, "The page does not know this question.")
        header = request.headers.get("x-question", "")
        try:
            wishes = json.loads(unquote(header[:MOST_HEADER])) if header else {}
            name = str(wishes.pop("name", "music.mid"))[:200].rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
        except (ValueError, AttributeError, RecursionError):
            return _error(400, "The question could not be read.")
        data = b""
        async for chunk in request.stream():
            data += chunk
            if len(data) > MOST_BYTES:
                size = f"The file is larger than {MOST_BYTES >> 20} MB."
                return _error(413, size, "Choose a shorter piece.")
        if question == "similar":
            wishes["folder"] = index
        return await _answered(pool.run(work.work, question, data, name, wishes))

    @asynccontextmanager
    async def life(_: Starlette) -> Any:
        yield
        pool.close()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", page),
            Route("/api/about", about),
            Route("/api/example/{name}", example),
            Route("/api/{question}", ask, methods=["POST"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guard(hosts))],
        lifespan=life,
    )


def _guard(hosts: tuple[str, ...]) -> Callable[[Request, Any], Awaitable[Response]]:
    """Refuse other names of this server and other origins; send `HEADERS` with everything."""

    async def guard(request: Request, further: Any) -> Response:
        host = request.headers.get("host", "")
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if urlsplit(f"//{host}").hostname not in hosts:
            response: Response = _error(403, "The page is not called by this name.")
        elif (origin is not None and urlsplit(origin).netloc != host) or site in ("cross-site", "same-site"):
            response = _error(403, "Other pages may not ask this one.")
        else:
            response = await further(request)
        response.headers.update(HEADERS)
        return response

    return guard


async def _answered(answer: Awaitable[Any]) -> Response:
    """Turn what a worker gives, or why it gave nothing, into a response."""
    try:
        found = await answer
        if isinstance(found, work.Sound):
            said = {"X-Notes": quote(json.dumps(found.notes))}
            return Response(found.data, media_type="audio/wav", headers=said)
        if isinstance(found, bytes):
            return Response(found, media_type="audio/midi")
        return JSONResponse(found)  # ValueError for a number that JSON does not have
    except FullError:
        return _error(503, "Too many people are asking at the moment.", "Try again in a minute.")
    except (TimeoutError, TooSlow):
        return _error(504, _SLOW, "Choose a shorter piece, or fewer bars.")
    except (ProcessExpired, BrokenProcessPool):
        return _error(
            500, "The program that worked on this stopped.", "Try again, or choose a shorter piece."
        )
    except MusicBertError as error:
        return _error(422, error.message, error.hint, error.reason)
    except ModuleNotFoundError as error:
        return _error(501, f"The package {error.name} is not installed.", "pip install 'musicbert[page]'")
    except (ValueError, OSError, MemoryError, RuntimeError, ArithmeticError, LookupError, TypeError) as error:
        logger.exception("a question failed")
        return _error(500, f"This could not be answered: {type(error).__name__}.", "Try another file.")


def _error(status: int, text: str, hint: str | None = None, reason: str | None = None) -> Response:
    return JSONResponse({"error": text, "hint": hint, "reason": reason}, status_code=status)


def serve(listener: socket, host: str, *, workers: int, seconds: float, index: str | None = None) -> None:
    """Answer at a socket that listens until Ctrl-C; ``host``: the name under which the page may be called."""
    import uvicorn

    hosts = ("127.0.0.1", "localhost", "::1") if host in ("127.0.0.1", "localhost", "::1") else (host,)
    pool = Pool(workers, seconds=seconds, index=index)
    try:
        app = make_app(pool, hosts=hosts, index=index)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
    finally:
        pool.close()
