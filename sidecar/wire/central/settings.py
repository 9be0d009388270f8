"""The configuration of the central listener. Part of `settings`."""

from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import Binds, File

_PositiveInt = Annotated[int, msgspec.Meta(gt=0)]


class AskerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway that may ask: known by a credential, by its client certificate, or by either."""

    name: str  # in the log, and nowhere else
    # a file that holds its credential, which it shows in `X-Sidecar-Credential`; looked at with
    # each request
    token_file: File = ""
    # DNS names or URIs (`spiffe://...`), one of which its certificate must have; it is signed by
    # an authority of `central.client_ca_file`
    certificate_names: tuple[str, ...] = ()


class CentralSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The central listener: checks for gateways elsewhere, which must show who they are.

    It reads calls as `http` says (`gateway`, `client_address` ...), and takes no events.
    """

    # `host:port`, such as `[::]:8443`, or a list; empty: it does not listen
    bind: Restart[Binds] = ""
    # its certificate; only on a loopback address it may be left out
    tls_cert_file: Restart[File] = ""
    tls_key_file: Restart[File] = ""  # the certificate's key
    # authorities of the gateways' certificates, and of nobody else's; empty: none is asked for
    client_ca_file: Restart[File] = ""
    askers: Live[tuple[AskerSettings, ...]] = ()  # who may ask
    max_requests: Restart[_PositiveInt] = 512  # answered at a time
    # open at a time, of one address three quarters of these; past that, one that waits for its
    # client makes room
    max_connections: Restart[_PositiveInt] = 512
