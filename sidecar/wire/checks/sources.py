"""Checks of what must fit together in the configuration of sources."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sidecar.domain.facts.fact_kinds import SIGNALS
from sidecar.domain.sources.source import ISSUER_PREFIX, LOCAL_PREFIX, OPERATOR_PREFIX
from sidecar.wire.checks.receiver import transmitters
from sidecar.wire.settings.receiver import Receiver
from sidecar.wire.settings.sources import SourceSettings
from sidecar.wire.settings.tokens import Tokens
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import FilePosition, Problems, Table, place_of, shown

_RESERVED = (LOCAL_PREFIX, OPERATOR_PREFIX, ISSUER_PREFIX)


def check_sources(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together in `sources`, if that could be read."""
    sources = values.get("sources")
    if not isinstance(sources, tuple):
        return
    check = _Checks(root, sources, problems)
    check.names()
    check.identities(values.get("receiver"))
    check.powers()
    check.over(values.get("receiver"))
    tokens = values.get("tokens")
    if isinstance(tokens, Tokens):
        check.issuers(tokens)
        check.transmitters(tokens, values.get("receiver"))


def check_credentials(
    root: Table,
    sources: tuple[SourceSettings, ...],
    read: Callable[[str], str],
    problems: Problems,
) -> None:
    """Add credentials that are none, or two sources'. `read` raises ValueError, quoting nothing."""
    owners: dict[str, str] = {}
    for field, place, source in _each(root, sources):
        if not source.token_file:
            continue
        try:
            credential = read(source.token_file).strip()  # as a header has it
        except ValueError as error:
            problems.add(place, f"{field}.token_file", str(error))
            continue
        owner = owners.setdefault(credential, source.name)
        if owner != source.name:
            message = f"holds the credential of {shown(owner)!r}: nobody could distinguish them"
            problems.add(place, f"{field}.token_file", message)


def _each(
    root: Table, sources: Collection[SourceSettings]
) -> Iterator[tuple[str, FilePosition, SourceSettings]]:
    """Yield each source with its field and where it stands."""
    for index, source in enumerate(sources):
        field = f"sources[{index}]"
        yield field, place_of(root, field), source


class _Checks:
    def __init__(
        self, root: Table, sources: tuple[SourceSettings, ...], problems: Problems
    ) -> None:
        self._root = root
        self._sources = sources
        self._problems = problems
        self._names = frozenset(source.name for source in sources)

    def _each(self) -> Iterator[tuple[str, FilePosition, SourceSettings]]:
        return _each(self._root, self._sources)

    def names(self) -> None:
        """Report sources with a name that only a door gives."""
        for field, place, source in self._each():
            for prefix in _RESERVED:
                if source.name.startswith(prefix):
                    message = f"must not begin with {prefix!r}: such names the doors give"
                    self._problems.add(place, f"{field}.name", message)

    def identities(self, receiver: object) -> None:
        """Report sources known by none or several things, and things that are two sources."""
        known = (
            frozenset(one.name for one in receiver.transmitters)
            if isinstance(receiver, Receiver)
            else None
        )
        by_uid: dict[int, str] = {}
        by_transmitter: dict[str, str] = {}
        for field, place, source in self._each():
            ways = [w for w in ("uids", "token_file", "transmitter") if getattr(source, w)]
            if len(ways) != 1:
                message = "must have just one of `uids`, `token_file` and `transmitter`"
                self._problems.add(place, field, message)
            for uid in source.uids:
                owner = by_uid.setdefault(uid, source.name)
                if owner != source.name:
                    message = f"{uid} is a uid of {shown(owner)!r} already"
                    self._problems.add(place, f"{field}.uids", message)
            name = source.transmitter
            if not name or known is None:
                continue
            if name not in known:
                hint = suggestion(name, known)
                message = f"{shown(name)!r} is not in `receiver.transmitters`{hint}"
                self._problems.add(place, f"{field}.transmitter", message)
            owner = by_transmitter.setdefault(name, source.name)
            if owner != source.name:
                message = f"{shown(name)!r} is {shown(owner)!r} already"
                self._problems.add(place, f"{field}.transmitter", message)
        for field, place, source in self._each():
            if known and source.name in known and source.transmitter != source.name:
                message = f"{shown(source.name)!r} is the name of a transmitter"
                self._problems.add(place, f"{field}.name", message)

    def powers(self) -> None:
        """Report event types that do not exist, or that may loosen and may not be sent."""
        for field, place, source in self._each():
            for key in ("may", "may_loosen"):
                for name in getattr(source, key) or ():
                    if name not in SIGNALS:
                        hint = suggestion(name, SIGNALS)
                        message = f"{shown(name)!r} is no type of event{hint}"
                        self._problems.add(place, f"{field}.{key}", message)
                    elif key == "may_loosen" and source.may is not None and name not in source.may:
                        message = f"{name!r} is not in `may`, so that it could never be sent"
                        self._problems.add(place, f"{field}.{key}", message)

    def over(self, receiver: object) -> None:
        """Report sources that stand over unknown ones, or over themselves by way of others."""
        transmitters = receiver.transmitters if isinstance(receiver, Receiver) else ()
        known = self._names | {one.name for one in transmitters}
        below = {source.name: source.over for source in self._sources}
        for field, place, source in self._each():
            for name in source.over:
                if name not in known and not name.startswith(LOCAL_PREFIX):
                    hint = suggestion(name, known)
                    message = f"{shown(name)!r} is not in `sources`{hint}"
                    self._problems.add(place, f"{field}.over", message)
            if _stands_over_itself(source.name, below):
                message = "stands over itself by way of others: then neither word would count"
                self._problems.add(place, f"{field}.over", message)

    def issuers(self, tokens: Tokens) -> None:
        """Report sources that speak for users of issuers that do not exist."""
        known = {one.issuer for one in tokens.issuers}
        known |= {getattr(one, "namespace", "") for one in tokens.issuers} - {""}
        for field, place, source in self._each():
            for name in source.issuers:
                if name not in known:
                    hint = suggestion(name, known)
                    message = f"{shown(name)!r} is neither issuer nor namespace of a token{hint}"
                    self._problems.add(place, f"{field}.issuers", message)

    def transmitters(self, tokens: Tokens, receiver: object) -> None:
        """Report transmitters that speak for nobody: for no users of their own issuer or others."""
        if not (isinstance(receiver, Receiver) and tokens.issuers):
            return
        mapped = {source.transmitter for source in self._sources if source.issuers}
        for field, place, transmitter in transmitters(self._root, receiver):
            named = tokens.namespaces.named(transmitter.issuer)
            if named is None and transmitter.name not in mapped:
                message = (
                    "is no issuer of `tokens`, so that it speaks for nobody; give it an entry in"
                    " `sources` with `transmitter` and `issuers`"
                )
                self._problems.add(place, f"{field}.issuer", message)


def _stands_over_itself(name: str, below: Mapping[str, Collection[str]]) -> bool:
    """Return whether those below a source, and those below them, lead back to it."""
    seen: set[str] = set()
    waiting = list(below.get(name, ()))
    while waiting:
        one = waiting.pop()
        if one == name:
            return True
        if one not in seen:
            seen.add(one)
            waiting.extend(below.get(one, ()))
    return False
