# ruff: noqa: INP001 - a sample app is no package
"""A Django site whose payments are protected by the sidecar in its pod, in one file.

pip install stepup-client django
python examples/django_app.py runserver
"""

import asyncio  # noqa: TID251 - Django's own loop
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from stepup_client.django import step_up

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "for nothing but this example"),
)
django.setup()


@step_up()
def accounts(request: HttpRequest) -> JsonResponse:
    """A routine call: it passes while the session lives, also where a step-up is pending."""
    decision = request.sidecar
    return JsonResponse({"subject": decision.subject, "step_up_pending": decision.step_up_pending})


@method_decorator(step_up("c1"), name="dispatch")
class Pay(View):
    """A sensitive one: it is challenged as soon as a signal has marked the session."""

    def post(self, _request: HttpRequest, number: int) -> JsonResponse:
        """Pay."""
        return JsonResponse({"paid": number})


@step_up("c1")
async def transfer(_request: HttpRequest, number: int) -> JsonResponse:
    """The same as a coroutine."""
    return JsonResponse({"transferred": number})


@step_up("c1")
def rates(_request: HttpRequest) -> StreamingHttpResponse:
    """Server-sent events, which end before the next one when the session would be challenged."""

    def events() -> Iterator[str]:
        while True:
            yield "data: 1.08\n\n"
            time.sleep(0.2)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


@step_up("c1")
async def quotes(_request: HttpRequest) -> StreamingHttpResponse:
    """The same for ASGI, where Django streams only what is asynchronous."""

    async def events() -> AsyncIterator[str]:
        while True:
            yield "data: 1.08\n\n"
            await asyncio.sleep(0.2)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [
    path("accounts", accounts),
    path("payments/<int:number>", Pay.as_view()),
    path("transfers/<int:number>", transfer),
    path("rates", rates),
    path("quotes", quotes),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
