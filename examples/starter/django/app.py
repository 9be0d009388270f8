"""A Django site whose payments are challenged once something is wrong with their user.

pip install stepup-client django
python app.py runserver 8080
"""

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.management.utils import get_random_secret_key
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from django.views.static import serve
from stepup_client.django import StepUp
from stepup_client.gate import Gate

HERE = Path(__file__).parent
TRUSTED_PROXIES = 0  # how many proxies of yours append to X-Forwarded-For
SOCKET = os.environ.get("SIDECAR_SOCKET", str(HERE / "sidecar.sock"))
step_up = StepUp(Gate(socket=SOCKET, trusted_proxies=TRUSTED_PROXIES))

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    # A new one at each start, unless yours is given: nothing here is signed for longer.
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key(),
)
django.setup()


def page(_request: HttpRequest) -> FileResponse:
    """Return the page that signs somebody in."""
    return FileResponse((HERE / "browser" / "index.html").open("rb"))


def static(request: HttpRequest, name: str) -> HttpResponseBase:
    """Return a file of the page."""
    return serve(request, name, document_root=str(HERE / "browser"))


@step_up()
def accounts(request: HttpRequest) -> JsonResponse:
    """Return what a routine call sees."""
    return JsonResponse({"subject": request.sidecar.subject})


@csrf_exempt  # a bearer token is shown by no page of another origin
@require_POST
@step_up("c1")
def pay(_request: HttpRequest, number: int) -> JsonResponse:
    """Pay: a sensitive call."""
    return JsonResponse({"paid": number})


urlpatterns = [
    path("", page),
    path("accounts", accounts),
    path("payments/<int:number>", pay),
    path("static/<path:name>", static),
]
app = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
