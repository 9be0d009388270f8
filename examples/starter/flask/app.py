"""A Flask app whose payments are challenged once something is wrong with their user.

pip install stepup-client flask
flask --app app run --port 8080
"""

import os
from pathlib import Path

from flask import Flask, Response, g, send_from_directory
from stepup_client.flask import StepUp
from stepup_client.gate import Gate

HERE = Path(__file__).parent
TRUSTED_PROXIES = 0  # how many proxies of yours append to X-Forwarded-For
SOCKET = os.environ.get("SIDECAR_SOCKET", str(HERE / "sidecar.sock"))
step_up = StepUp(Gate(socket=SOCKET, trusted_proxies=TRUSTED_PROXIES))

app = Flask(__name__, static_folder=HERE / "browser", static_url_path="/static")


@app.get("/")
def page() -> Response:
    """Return the page that signs somebody in."""
    return send_from_directory(HERE / "browser", "index.html")


@app.get("/accounts")
@step_up()
def accounts() -> dict[str, object]:
    """Return what a routine call sees."""
    return {"subject": g.sidecar.subject}


@app.post("/payments/<int:number>")
@step_up("c1")
def pay(number: int) -> dict[str, int]:
    """Pay: a sensitive call."""
    return {"paid": number}
