"""The set-up of each gateway by `sidecar init`, and its start by somebody who is not root."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.adapters.files.starter_files import starter_files
from sidecar.wire.starter import StarterAddresses

_NGINX = """\
# Runs nginx in the foreground without root: nginx -p DIRECTORY -e error.log -c nginx.conf
daemon off;
pid nginx.pid;
error_log error.log;
events {}
http {
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include sidecar.conf;
}
"""
_MODULES = ("mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http", "setenvif")
_APACHE = (
    "# Runs Apache in the foreground without root; the modules lie where Debian has them.\n"
    'ServerRoot "{here}"\nServerName localhost\nPidFile apache2.pid\nErrorLog error.log\n'
    + "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _MODULES
    )
    + "Include sidecar.conf\n"
)


class Gateway(NamedTuple):
    """A gateway: its `http.gateway`, whether it asks by gRPC, and how it is started.

    `command` and the files of `wrapper` have `{here}` where the directory of its files belongs, and
    `{port}` where the gateway listens. So have the values of `fitted`, which take the place of its
    keys in the shipped files.
    """

    setting: str
    command: str
    grpc: bool = False
    wrapper: Mapping[str, str] = {}
    fitted: Mapping[str, str] = {}


GATEWAYS: Mapping[str, Gateway] = {
    "nginx": Gateway(
        "nginx", "nginx -p {here} -e error.log -c nginx.conf", wrapper={"nginx.conf": _NGINX}
    ),
    "caddy": Gateway("caddy", "caddy run --config {here}/Caddyfile --adapter caddyfile"),
    "haproxy": Gateway(
        "haproxy",
        "haproxy -db -f {here}/haproxy.cfg",
        fitted={
            "/etc/haproxy/sidecar.lua": '"{here}/sidecar.lua"',
            # An abstract socket's name is the machine's: several may run on one.
            "abns@stepup-sidecar": "abns@stepup-sidecar-{port}",
        },
    ),
    "apache": Gateway(
        "apache",
        "apache2 -f {here}/apache2.conf -DFOREGROUND",
        wrapper={"apache2.conf": _APACHE},
        fitted={"/etc/apache2/sidecar.lua": '"{here}/sidecar.lua"'},
    ),
    "envoy": Gateway("envoy", "envoy -c {here}/envoy.yaml --disable-hot-restart"),
    "envoy-grpc": Gateway("none", "envoy -c {here}/envoy.yaml --disable-hot-restart", grpc=True),
    "traefik": Gateway(
        "traefik",
        "traefik --configFile={here}/traefik.yml",
        fitted={"/etc/traefik/dynamic.yml": '"{here}/dynamic.yml"'},
    ),
    "istio": Gateway("none", "kubectl apply -f {here}/policy.yaml", grpc=True),
}


UNQUOTABLE = frozenset('"$\\')
"""What no path in their configurations may have: they give it a meaning also in quotes."""


def gateway_directory(out: Path) -> Path:
    """Return where the gateway's files lie, in full: some gateways run elsewhere."""
    return out.absolute() / "gateway"


def gateway_files(name: str, here: Path, ports: StarterAddresses) -> dict[str, str]:
    """Return the texts of a gateway's files, by their names, as they belong into `here`."""
    gateway = GATEWAYS[name]
    texts = {file: ports.fit(text) for file, text in starter_files("gateways", name).items()}
    for shipped, fitted in gateway.fitted.items():
        texts = {file: text.replace(shipped, fitted) for file, text in texts.items()}
    return {
        file: text.replace("{here}", str(here)).replace("{port}", str(ports.gateway))
        for file, text in {**texts, **gateway.wrapper}.items()
    }
