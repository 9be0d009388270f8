"""The settings of signed bundles of policies."""

from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live, Restart
from sidecar.wire.yaml.scalars import Duration, DurationOrZero, File, Url, instead


class PolicyBundles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed bundles, for the policies of a whole fleet; one source: `directory`, `url` or `oci`.

    `sidecar policies activate` says which is in force. docs/bundles.md says how they are made.
    """

    directory: Restart[File] = ""  # a directory with bundles and signatures: a volume, a checkout
    # an address below which they are: the name of a file is appended
    url: Restart[Annotated[Url, instead("token_file")]] = ""
    # a repository of a registry, `https://registry.example.com/team/policies`; its tags are numbers
    oci: Restart[Annotated[Url, instead("token_file")]] = ""
    token: Live[str] = ""  # the bearer credential that `url` or `oci` asks for; better by file
    token_file: Live[File] = ""  # a file that holds `token`
    # who pulls from the registry, where it asks for a user: by its token server, or itself
    username: Live[str] = ""
    password: Live[str] = ""  # better by `password_file`
    password_file: Live[File] = ""  # a file that holds `password`
    # the token server of the registry, where that is another host: `https://auth.example.com`. The
    # password is shown to these two alone
    token_server: Live[Annotated[Url, instead("password_file")]] = ""
    # minisign public keys, `RW...`: any of them may sign; more than one while a key is replaced
    public_keys: Live[tuple[str, ...]] = ()
    cache: Restart[File] = ""  # a directory that keeps verified bundles; empty: memory does
    timeout: Live[Duration] = 10.0  # for the whole of one bundle
    # how often the source is asked for the newest bundle, so that it is fetched and verified before
    # it is activated; at least 1s, or 0: never
    poll: Restart[DurationOrZero] = 0.0

    @property
    def enabled(self) -> bool:
        """Return whether policies come from bundles."""
        return bool(self.directory or self.url or self.oci)
