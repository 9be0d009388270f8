"""Gateways that ask central sidecars, each by what its example in deploy/k8s/central/gateways says.

Kubernetes' controllers are not run: what they would make of an example is written here, from the
example's own text, for the gateway that they drive. What is not in the example is marked below.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.deploy.manifests import DEPLOY

EXAMPLES = DEPLOY / "central" / "gateways"
UNDERSCORES = {"DropHeader": "DROP_HEADER", "RejectRequest": "REJECT_REQUEST", "Allow": "ALLOW"}
"""What Envoy Gateway makes of `withUnderscoresAction`."""


class Place(NamedTuple):
    """Where everything is: ports, what the gateway shows (one of the two), and whom it trusts."""

    gateway: int
    app: int
    central: int
    authority: Path
    credential: str = ""
    certificate: Path | None = None
    key: Path | None = None


def example(name: str, kind: str) -> dict[str, Any]:
    """The object of a kind in an example."""
    (found,) = examples(name, kind)
    return found


def examples(name: str, kind: str) -> list[dict[str, Any]]:
    """The objects of a kind in an example."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    return [one for one in yaml.safe_load_all(text) if one["kind"] == kind]


def traefik(directory: Path, place: Place) -> list[str]:
    """Its objects have the same keys in a file, but for names of files in place of Secrets."""
    middlewares = {
        one["metadata"]["name"]: dict(one["spec"]) for one in examples("traefik", "Middleware")
    }
    (ask,) = (one["forwardAuth"] for one in middlewares.values() if "forwardAuth" in one)
    tls: dict[str, str] = {"ca": str(place.authority)}
    assert set(ask["tls"]) == {"caSecret", "certSecret"}
    if place.certificate is not None:
        tls |= {"cert": str(place.certificate), "key": str(place.key)}
    ask |= {"address": here(ask["address"], place), "tls": tls}
    spec = example("traefik", "IngressRoute")["spec"]
    routers = {
        f"route-{number}": {
            "rule": one["match"].replace("Host(`payroll.example.com`)", "HostRegexp(`.`)"),
            "priority": one["priority"],
            "middlewares": [named["name"] for named in one["middlewares"]],
            "service": "app",
        }
        for number, one in enumerate(spec["routes"])
    }
    dynamic = {
        "http": {
            "routers": routers,
            "middlewares": middlewares,
            "services": {"app": {"loadBalancer": {"servers": [{"url": app(place)}]}}},
        }
    }
    (entry,) = spec["entryPoints"]
    (directory / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
    return [
        f"--entryPoints.{entry}.address=127.0.0.1:{place.gateway}",
        f"--providers.file.filename={directory / 'dynamic.yml'}",
        *re.findall(r"^#\s+(--\S+)$", (EXAMPLES / "traefik.yaml").read_text(), re.MULTILINE),
    ]


def nginx(directory: Path, place: Place) -> list[str]:
    """What ingress-nginx sends with a check: the client's headers, and two about the call."""
    notes = example("ingress-nginx", "Ingress")["metadata"]["annotations"]
    notes = {name.rpartition("/")[2]: value for name, value in notes.items()}
    named = [name.replace("-", "_").lower() for name in notes["auth-response-headers"].split(",")]
    shown = f"proxy_set_header X-Sidecar-Credential {place.credential};" if place.credential else ""
    temporary = "".join(
        f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    strip = example("ingress-nginx", "ConfigMap")["data"]
    passed_on = "".join(f'proxy_set_header {one} "{value}";' for one, value in strip.items())
    heard = "".join(f"auth_request_set ${one} $upstream_http_{one};" for one in named)
    passed = "".join(f"proxy_set_header {one.replace('_', '-')} ${one};" for one in named)
    (directory / "nginx.conf").write_text(
        "user root; daemon off; pid nginx.pid; error_log error.log; worker_processes 1; events {}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{place.gateway};\n"
        "location = /_external-auth { internal; proxy_pass_request_body off;"
        ' proxy_set_header Content-Length "";'
        " proxy_set_header X-Original-URL $scheme://$http_host$request_uri;"
        " proxy_set_header X-Original-Method $request_method;"
        f" proxy_set_header X-Real-IP $remote_addr; {shown} proxy_set_header Host localhost;"
        f" proxy_ssl_trusted_certificate {place.authority}; proxy_ssl_verify on;"
        f" proxy_ssl_server_name on; proxy_pass {here(notes['auth-url'], place)}; }}\n"
        f"location / {{ auth_request /_external-auth; {heard} {passed} {passed_on}"
        f" proxy_pass {app(place)}; }} }} }}\n"
    )
    return ["-p", str(directory), "-e", "error.log", "-c", "nginx.conf"]


def envoy(directory: Path, place: Place) -> list[str]:
    """What Envoy Gateway makes of the SecurityPolicy and the BackendTLSPolicy."""
    asked = example("envoy-gateway", "SecurityPolicy")["spec"]["extAuth"]
    assert example("envoy-gateway", "BackendTLSPolicy")["spec"]["validation"]["hostname"]
    headers = example("envoy-gateway", "ClientTrafficPolicy")["spec"]["headers"]
    early = headers["earlyRequestHeaders"]
    assert set(early) == {"remove", "removeOnMatch"}
    extensions = "type.googleapis.com/envoy.extensions"
    filters = f"{extensions}.filters"

    def exactly(names: list[str]) -> dict[str, Any]:
        return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}

    def matching(match: dict[str, str]) -> dict[str, Any]:
        if match["type"] == "Prefix":
            return {"prefix": match["value"]}
        assert match["type"] == "RegularExpression"
        return {"safe_regex": {"regex": match["value"]}}

    removed: list[dict[str, Any]] = [{"remove": name} for name in early["remove"]]
    removed += [
        {"remove_on_match": {"key_matcher": matching(one)}} for one in early["removeOnMatch"]
    ]

    def cluster(name: str, port: int) -> dict[str, Any]:
        at = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": at}}]}]
        load = {"cluster_name": name, "endpoints": endpoints}
        return {"name": name, "type": "STATIC", "load_assignment": load}

    common: dict[str, Any] = {
        "validation_context": {
            "trusted_ca": {"filename": str(place.authority)},
            "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": "localhost"}}
            ],
        }
    }
    if place.certificate is not None:
        files = {"certificate_chain": place.certificate, "private_key": place.key}
        common["tls_certificates"] = [
            {name: {"filename": str(file)} for name, file in files.items()}
        ]
    tls = {
        "@type": f"{extensions}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": common,
    }
    ask = {
        "@type": f"{filters}.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": asked["failOpen"],
        "status_on_error": {"code": asked["statusOnError"]},
        "allowed_headers": exactly(asked["headersToExtAuth"]),
        "http_service": {
            "server_uri": {
                "uri": "https://localhost",
                "cluster": "central",
                "timeout": asked["timeout"],
            },
            "path_prefix": asked["http"]["path"],
            "authorization_response": {
                "allowed_upstream_headers": exactly(asked["http"]["headersToBackend"])
            },
        },
    }
    mutation = f"{extensions}.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "use_remote_address": True,
        "common_http_protocol_options": {
            "headers_with_underscores_action": UNDERSCORES[headers["withUnderscoresAction"]]
        },
        "early_header_mutation_extensions": [
            {
                "name": "early",
                "typed_config": {"@type": mutation, "mutations": removed},
            }
        ],
        "http_filters": [
            {"name": "ask", "typed_config": ask},
            {"name": "r", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
    }
    listener = {
        "name": "web",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": place.gateway}},
        "filter_chains": [{"filters": [{"name": "web", "typed_config": manager}]}],
    }
    central = {
        **cluster("central", place.central),
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    resources = {"listeners": [listener], "clusters": [central, cluster("app", place.app)]}
    (directory / "envoy.yaml").write_text(yaml.safe_dump({"static_resources": resources}))
    limits = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return ["-c", str(directory / "envoy.yaml"), *limits]


def here(address: str, place: Place) -> str:
    """An example's address, which must be the Service's, on this machine."""
    service = "https://stepup-sidecar-central.edge.svc.cluster.local:8443"
    assert address.startswith(f"{service}/")
    return address.replace(service, f"https://localhost:{place.central}")


def app(place: Place) -> str:
    """The app's address."""
    return f"http://127.0.0.1:{place.app}"


class Asking(NamedTuple):
    """How a gateway is run, and by what it is known."""

    arguments: Callable[[Path, Place], list[str]]
    setting: str
    by_certificate: bool


ASKING: Mapping[str, Asking] = {
    "ingress-nginx": Asking(nginx, "nginx", by_certificate=False),
    "traefik": Asking(traefik, "traefik", by_certificate=True),
    "envoy-gateway": Asking(envoy, "envoy", by_certificate=True),
}
