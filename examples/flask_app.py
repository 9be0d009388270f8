# ruff: noqa: INP001 - a sample app is no package
"""A Flask app whose payments are protected by the sidecar in its pod.

pip install stepup-client flask
flask --app examples/flask_app.py run
"""

import time
from collections.abc import Iterator

from flask import Flask, Response, g
from stepup_client.flask import step_up

app = Flask(__name__)


@app.get("/accounts")
@step_up()
def accounts() -> dict[str, object]:
    """A routine call: it passes while the session lives, also where a step-up is pending."""
    return {"subject": g.sidecar.subject, "step_up_pending": g.sidecar.step_up_pending}


@app.post("/payments/<int:number>")
@step_up("c1")
def pay(number: int) -> dict[str, int]:
    """A sensitive one: it is challenged as soon as a signal has marked the session."""
    return {"paid": number}


@app.get("/rates")
@step_up("c1")
def rates() -> Response:
    """Server-sent events, which end before the next one when the session would be challenged."""

    def events() -> Iterator[str]:
        while True:
            yield "data: 1.08\n\n"
            time.sleep(0.2)

    return Response(events(), mimetype="text/event-stream")
