# ruff: noqa: INP001 - a sample app is no package
"""A FastAPI app whose payments are protected by the sidecar in its pod.

pip install stepup-client fastapi uvicorn
uvicorn --app-dir examples fastapi_app:app
"""

from collections.abc import AsyncIterator

import anyio
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from stepup_client.fastapi import requires, step_up

app = FastAPI()


@app.get("/accounts")
@step_up()
def accounts(request: Request) -> dict[str, object]:
    """A routine call: it passes while the session lives, also where a step-up is pending."""
    decision = request.scope["sidecar"]
    return {"subject": decision.subject, "step_up_pending": decision.step_up_pending}


@app.post("/payments/{number}", dependencies=[Depends(requires("c1"))])
async def pay(number: int) -> dict[str, int]:
    """A sensitive one: it is challenged as soon as a signal has marked the session."""
    return {"paid": number}


@app.post("/transfers/{number}")
@step_up("c1")
async def transfer(number: int) -> dict[str, int]:
    """The same by a decorator, for what has no body and no dependencies to hide."""
    return {"transferred": number}


@app.get("/rates")
@step_up("c1")
async def rates() -> StreamingResponse:
    """Server-sent events, which end when the session would be challenged."""

    async def events() -> AsyncIterator[str]:
        yield "data: 1.08\n\n"
        await anyio.sleep_forever()

    return StreamingResponse(events(), media_type="text/event-stream")


@app.websocket("/desk")
@step_up("c1")
async def desk(socket: WebSocket) -> None:
    """A WebSocket, which is closed then, too."""
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())
