"""The attribution of an event: which issuer's user, session or device it concerns.

An event that names an issuer concerns that issuer's names alone. Of one that does not, a tightening
concerns all for whose names its source may speak: what is too much can be made good, what is missed
cannot. Anything else goes to where the name is known, and is refused where that is not one place:
it could take away from one issuer's user what was said of another's.
"""

from collections.abc import Callable
from typing import NoReturn

import msgspec

from sidecar.domain.facts.from_signal import tightens
from sidecar.domain.facts.signal import Signal, Subject
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.records.fact_reader import DeviceRecord, LocatorRecord, UserRecord
from sidecar.service.records.facts import FactRecords
from sidecar.service.view.view import View
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import owners_of

FIELD = "subject.issuer"


class Attribution:
    """Finds whose names the subjects of events are."""

    def __init__(
        self,
        *,
        records: FactRecords,
        view: View,
        namespaces: Callable[[], Namespaces],
        sources: Callable[[], Sources],
    ) -> None:
        self._records = records
        self._view = view
        self._namespaces = namespaces
        self._sources = sources

    def candidates(self, signal: Signal) -> tuple[str, ...]:
        """Return the namespaces that it can concern. Raises `InvalidSignal` where there is none."""
        namespaces = self._namespaces()
        speaks_for = self._speaks_for(signal, namespaces)
        issuer = signal.subject.issuer
        if issuer:
            namespace = namespaces.named(issuer)
            if namespace is None:
                _refuse("is not configured; " + _known(namespaces))
            if namespace not in speaks_for:
                _refuse("is none for whose users this source may speak (sources: `issuers`)")
            return (namespace,)
        if not speaks_for:
            _refuse("is needed: this source speaks for users of no configured issuer (`issuers`)")
        return speaks_for

    async def of(self, signal: Signal) -> tuple[Signal, ...]:
        """Return the event, once for each namespace that it concerns, each naming that one.

        Raises `InvalidSignal` where nobody knows which, `Unavailable` and `Overloaded` where the
        store would have to.
        """
        candidates = self.candidates(signal)
        if len(candidates) > 1 and not tightens(signal):
            known = await self._known_at(signal.subject, candidates)
            if len(known) != 1:
                where = "at several issuers" if known else "at none of several issuers"
                _refuse(
                    f"is required: the subject is known {where}, and this event could take"
                    f" something back; {_known(self._namespaces())}"
                )
            candidates = known
        return tuple(_of(signal, namespace) for namespace in candidates)

    def beforehand(self, signal: Signal) -> tuple[Signal, ...]:
        """Attribute as `of` does, by the configuration alone; else return the event as it is.

        Raises `InvalidSignal` where it can concern nobody's names.
        """
        candidates = self.candidates(signal)
        if len(candidates) > 1 and not tightens(signal):
            return (signal,)
        return tuple(_of(signal, namespace) for namespace in candidates)

    def alone(self, signal: Signal) -> Signal | None:
        """Attribute as `of` does, where there is one namespace that it can concern; else None.

        Raises `InvalidSignal` where there is none.
        """
        candidates = self.candidates(signal)
        return _of(signal, candidates[0]) if len(candidates) == 1 else None

    def here(self, signal: Signal) -> tuple[Signal, ...]:
        """Attribute as `of` does, by what this sidecar serves alone; else return nothing."""
        try:
            candidates = self.candidates(signal)
        except InvalidSignal:
            return ()
        if len(candidates) > 1 and not tightens(signal):
            subject = signal.subject
            candidates = tuple(
                dict.fromkeys(
                    live.namespace
                    for live in self._view
                    if live.namespace in candidates
                    and (not subject.session or live.session == subject.session)
                    and (subject.session or not subject.device or subject.device in live.devices)
                    and (subject.session or subject.device or live.user == subject.user)
                )
            )
            if len(candidates) != 1:
                return ()
        return tuple(_of(signal, namespace) for namespace in candidates)

    def _speaks_for(self, signal: Signal, namespaces: Namespaces) -> tuple[str, ...]:
        own = self._sources().of(signal.source).namespaces
        if own is None:
            return namespaces.all
        named = {namespaces.named(one) for one in own}
        return tuple(one for one in namespaces.all if one in named)

    async def _known_at(self, subject: Subject, candidates: tuple[str, ...]) -> tuple[str, ...]:
        if subject.session:
            known = await self._owned(subject.session, candidates)
            # What calls have shown here may not be saved yet.
            known |= {live.namespace for live in self._view.find_session(subject.session)}
        else:
            listed = await self._records.load_listed(
                *(_where(subject, namespace) for namespace in candidates)
            )
            pairs = zip(candidates, listed, strict=True)
            known = {namespace for namespace, one in pairs if one.record or one.sessions}
        return tuple(one for one in candidates if one in known)

    async def _owned(self, session: str, candidates: tuple[str, ...]) -> set[str]:
        """Return at which issuers somebody has a session of this name."""
        locators = (LocatorRecord(digest(each, session)) for each in candidates)
        records = await self._records.load(*locators)
        return {each for each, one in zip(candidates, records, strict=True) if owners_of(one)}


def _where(subject: Subject, namespace: str) -> UserRecord | DeviceRecord:
    """Return where it stands whether a user's or device's name is known."""
    if subject.device:
        return DeviceRecord(digest(namespace, subject.device))
    return UserRecord(digest(namespace, subject.user))


def _of(signal: Signal, namespace: str) -> Signal:
    subject = msgspec.structs.replace(signal.subject, issuer=namespace)
    return msgspec.structs.replace(signal, subject=subject)


def _known(namespaces: Namespaces) -> str:
    named = ", ".join(namespaces.words)
    return f"known are {named}" if named else "no issuer is (tokens.issuers)"


def _refuse(message: str) -> NoReturn:
    raise InvalidSignal(FIELD, message)
