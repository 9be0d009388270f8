"""Metrics are read from a real listener; whatever else answers is reported as unavailable."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sidecar.service.ports.calls import Unavailable
from sidecar.tuning.trial import prometheus_scrape
from sidecar.tuning.trial.forecast import Sample
from sidecar.tuning.trial.prometheus_scrape import scrape

ANSWERS = {
    "/metrics": (200, b'# TYPE a counter\na_total{policy="p"} 2\n# TYPE b gauge\nb 1.5\n'),
    "/odd": (200, b"<html>hello</html>\n"),
    "/bytes": (200, b"a \xff\n"),
    "/gone": (404, b"nothing here"),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_all_samples_are_read(url: str) -> None:
    assert scrape(f"{url}/metrics", 5) == [
        Sample("a_total", {"policy": "p"}, 2.0),
        Sample("b", {}, 1.5),
    ]


@pytest.mark.parametrize(
    ("path", "found"), [("/gone", "status 404"), ("/odd", "not metrics"), ("/bytes", "not metrics")]
)
def test_what_is_not_metrics_is_unavailable(url: str, path: str, found: str) -> None:
    with pytest.raises(Unavailable, match=found):
        scrape(url + path, 5)


def test_an_answer_without_an_end_is_cut_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_scrape, "MOST_BYTES", 16)
    with pytest.raises(Unavailable, match="too long"):
        scrape(f"{url}/metrics", 5)


@pytest.mark.parametrize("odd", ["http://127.0.0.1:1/metrics", "nowhere", "http://[::1/x"])
def test_where_nobody_answers_it_is_unavailable(odd: str) -> None:
    with pytest.raises(Unavailable):
        scrape(odd, 5)
