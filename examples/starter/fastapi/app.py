"""A FastAPI app whose payments are challenged once something is wrong with their user.

pip install stepup-client fastapi uvicorn
uvicorn app:app --port 8080
"""

import os
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from stepup_client.fastapi import Gate, StepUp

HERE = Path(__file__).parent
TRUSTED_PROXIES = 0  # how many proxies of yours append to X-Forwarded-For
SOCKET = os.environ.get("SIDECAR_SOCKET", str(HERE / "sidecar.sock"))
step_up = StepUp(Gate(socket=SOCKET, trusted_proxies=TRUSTED_PROXIES))

app = FastAPI()
app.mount("/static", StaticFiles(directory=HERE / "browser"))


@app.get("/")
def page() -> FileResponse:
    """Return the page that signs somebody in."""
    return FileResponse(HERE / "browser" / "index.html")


@app.get("/accounts")
@step_up()
def accounts(request: Request) -> dict[str, object]:
    """Return what a routine call sees."""
    return {"subject": request.scope["sidecar"].subject}


@app.post("/payments/{number}", dependencies=[Depends(step_up.requires("c1"))])
def pay(number: int) -> dict[str, int]:
    """Pay: a sensitive call."""
    return {"paid": number}
