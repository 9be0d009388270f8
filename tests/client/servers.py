"""Real web servers for apps of all kinds, in threads and in other Pythons; and our example apps."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.validate import validator

import hypercorn
import hypercorn.trio
import trio
import uvicorn
from werkzeug.serving import make_server

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """An example app, loaded once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@contextmanager
def on_uvicorn(app: Any) -> Iterator[str]:
    """An ASGI app on asyncio."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio", lifespan="auto")
    config.timeout_graceful_shutdown = 5
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def on_trio(app: Any, keep_alive_timeout: float = 5) -> Iterator[str]:
    """An ASGI app on trio."""
    bound: list[str] = []
    ready = threading.Event()
    stop: list[Any] = []

    async def main() -> None:
        config = hypercorn.Config()
        config.bind = ["127.0.0.1:0"]
        config.graceful_timeout = 5
        config.keep_alive_timeout = keep_alive_timeout
        ending = trio.Event()
        stop.extend([trio.lowlevel.current_trio_token(), ending])
        async with trio.open_nursery() as nursery:
            serve = partial(hypercorn.trio.serve, shutdown_trigger=ending.wait)
            bound.extend(await nursery.start(serve, app, config))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(20)
        yield bound[0]
    finally:
        token, ending = stop
        token.run_sync_soon(ending.set)
        thread.join()


@contextmanager
def on_threads(app: Any) -> Iterator[str]:
    """A WSGI app, a thread for each request."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


COMMANDS = {
    "fastapi": "-m uvicorn fastapi_app:app --port {port}",
    "fastapi-trio": "-m hypercorn --worker-class trio --bind 127.0.0.1:{port} fastapi_app:app",
    "flask": "-m flask --app flask_app run --port {port}",
    "django-wsgi": "django_app.py runserver --noreload 127.0.0.1:{port}",
    "django-asgi": "-m uvicorn django_app:asgi --port {port}",
}
"""How another Python serves each example app, from the directory of the examples."""


@contextmanager
def in_another_python(python: str, name: str) -> Iterator[str]:
    """An example app, served by another Python with what is installed there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-B", *COMMANDS[name].format(port=port).split()]
    kept = {key: os.environ[key] for key in ("PATH", "SIDECAR_SOCKET")}
    with subprocess.Popen(command, cwd=EXAMPLES, env=kept) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens there."""
    give_up = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)  # the pace of trying
        else:
            return


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def on_wsgiref(app: Any) -> Iterator[str]:
    """A WSGI app, held to PEP 3333 on both sides."""
    server = _Threaded(("127.0.0.1", 0), _Quiet)
    server.set_app(validator(app))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
