"""`sidecar inject`: the webhook that adds the sidecar to pods, and certificates for it."""

import argparse
import base64
import os
from pathlib import Path

from sidecar.cli.exit_status import Stop

OBJECTS = {
    "config": "config-map",
    "policies": "policies-config-map",
    "store": "store-secret",
    "admin": "admin-secret",
}
"""The objects of a pod's namespace, as `Names` calls them, and the options that name them."""

_PATCH = b"""\
# What the API server checks the webhook's certificate with.
- op: add
  path: /webhooks/0/clientConfig/caBundle
  value: %b
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Serve the mutating admission webhook that adds the sidecar to pods which have the label "
        "stepup-sidecar.github.io/inject=enabled. It needs a certificate that the API server "
        "trusts: from cert-manager, or made here with --make-certificates. A certificate that "
        "changes is taken up with the next connection."
    )
    parser.epilog = """\
examples:
  sidecar inject --image registry.example.com/stepup-sidecar:0.1.0 --certificate tls.crt --key tls.key
  sidecar inject --make-certificates ./webhook --service stepup-sidecar-injector.stepup-sidecar

exit status: 0 it ended as asked, 1 a fault of its own, 2 bad usage or surroundings
"""  # noqa: E501 - a line to copy
    environment = os.environ.get
    image = environment("SIDECAR_INJECT_IMAGE", "")
    parser.add_argument(
        "--image", default=image, help="the sidecar's image (default: $SIDECAR_INJECT_IMAGE)"
    )
    add = parser.add_argument
    add("--bind", default="[::]:8443", metavar="ADDRESS", help="of the webhook (%(default)s)")
    add("--admin", default="[::]:9090", metavar="ADDRESS", help="of metrics, health (%(default)s)")
    add("--certificate", default="", metavar="FILE", help="PEM of the webhook's certificate")
    add("--key", default="", metavar="FILE", help="PEM of its key")
    for name, option in OBJECTS.items():
        kind = "Secret" if option.endswith("secret") else "ConfigMap"
        text = f"the {kind} that each pod's namespace has (%(default)s)"
        add(f"--{option}", dest=f"of_{name}", default=f"sidecar-{name}", metavar="NAME", help=text)
    made = parser.add_argument_group("certificates of our own")
    made.add_argument(
        "--make-certificates",
        default="",
        metavar="DIR",
        help="write ca.crt, tls.crt, tls.key and webhook-patch.yaml there, and end; the "
        "authority's key is not kept",
    )
    made.add_argument(
        "--service",
        default="stepup-sidecar-injector.stepup-sidecar",
        metavar="NAME.NAMESPACE",
        help="the Service by which the API server asks (%(default)s)",
    )
    made.add_argument("--days", type=int, default=365, help="until it ends (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Serve the webhook, or make certificates."""
    if arguments.make_certificates:
        return _make(arguments)
    for option in ("image", "certificate", "key"):
        if not getattr(arguments, option):
            raise Stop(f"--{option} is missing; `sidecar inject --help` says more")
    from sidecar.daemon.process import main  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.programs.injector_process import (  # noqa: PLC0415 - likewise
        Injector,
        InjectorOptions,
    )
    from sidecar.wire.injection.additions import Names  # noqa: PLC0415 - likewise

    named = {name: getattr(arguments, f"of_{name}") for name in OBJECTS}
    names = Names(image=arguments.image, **named)
    options = InjectorOptions(
        names, arguments.bind, arguments.admin, arguments.certificate, arguments.key
    )
    return main("", lambda *_: Injector(options))


def _make(arguments: argparse.Namespace) -> int:
    """Write certificates for the webhook's Service, and the patch that names their authority."""
    from sidecar.adapters import clock  # noqa: PLC0415 - a command starts quickly
    from sidecar.adapters.injection.self_made import (  # noqa: PLC0415 - likewise
        make_certificates,
    )
    from sidecar.domain.values.causes import words_of  # noqa: PLC0415 - likewise

    name, _, namespace = arguments.service.partition(".")
    if not name or not namespace or "." in namespace:
        raise Stop("--service: is NAME.NAMESPACE, such as stepup-sidecar-injector.stepup-sidecar")
    if not 1 <= arguments.days <= 3650:
        raise Stop("--days: is from 1 to 3650")
    host = f"{name}.{namespace}.svc"
    made = make_certificates((host, f"{host}.cluster.local"), clock.now(), arguments.days)
    directory = Path(arguments.make_certificates)
    files = {
        "ca.crt": made.authority,
        "tls.crt": made.certificate,
        "tls.key": made.key,
        "webhook-patch.yaml": _PATCH % base64.b64encode(made.authority),
    }
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, content in files.items():
            _write(directory / file, content)
            print(directory / file)
    except OSError as error:
        raise Stop(f"{error.filename or directory}: {words_of(error)}") from error
    return 0


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; what is there is never replaced."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
