"""A Starlette app whose payments are challenged once something is wrong with their user.

pip install stepup-client starlette uvicorn
uvicorn app:app --port 8080
"""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from stepup_client.gate import Gate
from stepup_client.starlette import StepUp

HERE = Path(__file__).parent
TRUSTED_PROXIES = 0  # how many proxies of yours append to X-Forwarded-For
SOCKET = os.environ.get("SIDECAR_SOCKET", str(HERE / "sidecar.sock"))
step_up = StepUp(Gate(socket=SOCKET, trusted_proxies=TRUSTED_PROXIES))


async def page(_request: Request) -> FileResponse:
    """Return the page that signs somebody in."""
    return FileResponse(HERE / "browser" / "index.html")


@step_up()
async def accounts(request: Request) -> JSONResponse:
    """Return what a routine call sees."""
    return JSONResponse({"subject": request.scope["sidecar"].subject})


@step_up("c1")
async def pay(request: Request) -> JSONResponse:
    """Pay: a sensitive call."""
    return JSONResponse({"paid": request.path_params["number"]})


app = Starlette(
    routes=[
        Route("/", page),
        Route("/accounts", accounts),
        Route("/payments/{number:int}", pay, methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "browser")),
    ]
)
