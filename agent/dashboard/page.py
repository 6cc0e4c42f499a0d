"""The web page as a program of its own: reads the homes' topics, serves the picture, knows nothing else."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from agent.dashboard.cells import box, text
from agent.dashboard.community import CommunityView
from agent.dashboard.home_view import HomeView
from agent.dashboard.icons import FAVICON
from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings
from agent.dashboard.source import Feeds
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError

_log = logging.getLogger(__name__)

_DRAIN_S = 0.2
_RENDER_S = 0.4
"""Two and a half pictures a second: what an eye can follow, and little work for a Pi."""

_FOOTER = "Commonwatt. This page listens to the homes' own messages; it cannot command anything."

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")

# The page must work on a Pi without internet and must not tell anybody that it is open, so the browser is told to load
# nothing from elsewhere. nicegui's own scripts are inline and compile templates, hence the two "unsafe" words.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)


class _Live:
    """The one picture all visitors look at."""

    def __init__(self, feeds: Feeds, clock: Clock) -> None:
        self.picture: Picture = feeds.picture()
        self._feeds = feeds
        self._clock = clock

    def wall_s(self) -> float:
        return self._clock.monotonic()

    async def run(self) -> None:
        while True:
            self._feeds.drain(self.picture)
            await asyncio.sleep(_DRAIN_S)


def _add_pages(settings: DashboardSettings, live: _Live) -> None:
    names = {source.home for source in settings.sources}

    def build(make: Callable[[], CommunityView | HomeView]) -> None:
        ui.add_css(_STYLE)
        with box("page", tag="main"):
            view = make()
            text(_FOOTER, "fine footer", "footer")

        def render() -> None:
            view.update(live.picture, live.wall_s())

        render()
        ui.timer(_RENDER_S, render)

    def start_page() -> None:
        only = next(iter(names)) if len(names) == 1 else None
        build(lambda: HomeView(settings, only) if only is not None else CommunityView(settings))

    def home_page(name: str) -> None:
        if name in names:
            build(lambda: HomeView(settings, name))
            return
        ui.add_css(_STYLE)
        with box("page", tag="main"):
            text("There is no such home here.", "title", "h1")
            with box("back", tag="a", href="/"):
                text("← Back")

    ui.page("/")(start_page)
    ui.page("/home/{name}")(home_page)


def build_app(settings: DashboardSettings, clock: Clock) -> FastAPI:
    """Return the page as an ASGI application. nicegui keeps its pages in a global, so one per process."""
    feeds = Feeds(settings, clock)
    live = _Live(feeds, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with feeds:
            task = asyncio.create_task(live.run())
            try:
                yield
            finally:
                task.cancel()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.middleware("http")
    async def restrict(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    if settings.host in _LOOPBACK:
        # A page of a foreign site whose name was pointed at this machine must not read the house.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    _add_pages(settings, live)
    ui.run_with(
        app,
        title=settings.title,
        favicon=FAVICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        message_history_length=100,
    )
    return app


def run_dashboard(settings: DashboardSettings, clock: Clock | None = None) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"dashboard: cannot listen on host = {settings.host!r}, port = {settings.port} ({error.strerror}). "
            "Choose another port in the dashboard's settings, or stop the program that uses this one."
        ) from None
    app = build_app(settings, clock or WallClock())
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False, lifespan="on")
    )
    _log.info("page at http://%s:%d", settings.host, settings.port)
    with listener, _quiet_stop():
        server.run(sockets=[listener])


@contextmanager
def _quiet_stop() -> Iterator[None]:
    """Let a stop by signal be a normal end: uvicorn stops in order, then raises the signal once more for us."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
