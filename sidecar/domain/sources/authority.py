"""Authority of sources: the ruling on an event by the powers of its source.

The description of all words (`WORDS`) is the one place where it is said what each event can say,
what of it loosens, proves or identifies, and what becomes of it where its source lacks the power.
The ruling is derived from it, and so are the documents' table of powers and the test that plays
each of its cells on a running daemon.

- What loosens nothing is *taken* from everybody who may send its type.
- What compares with the words of others (risk, weight, segment, claims) is *joined* without the
  power: between sources the strictest counts, so it takes back no more than its own source's words.
- What can only loosen, prove or identify is *refused* without the power, by the name of the
  setting that gives it.

A proof or a loosening counts no later than its receipt, whatever its own time: dated ahead it
would take back what is still to come.
"""

from enum import StrEnum
from typing import NamedTuple, TypeAlias, assert_never

import msgspec

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.sources.source import LOCAL_PREFIX, Source, is_operator
from sidecar.domain.values.stamp import MICROSECONDS, Stamp

LONGEST_UNKNOWN_LIFE = 30 * 86400
"""Seconds for which an event may have a session kept whose token nobody has seen."""

IDENTITY = frozenset({"user", "sub", "groups", "roles"})
"""Claims that say who a user is, besides those that issuers are configured to say it by."""


class Power(StrEnum):
    """A power that a word needs its source to have; the values are the keys of `sources[]`."""

    NONE = ""
    LOOSEN = "may_loosen"
    PROVE = "may_prove"
    IDENTIFY = "may_identify"
    OPERATE = "operator"
    """No setting gives it: only an operator has it."""


class Without(StrEnum):
    """The treatment of a word whose source lacks the power."""

    REFUSED = "refused"
    JOINED = "joined"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an event of this type can say.

    `says` and `loosens` are for people; `field` is the member of the event that says it.
    """

    name: str
    type: str
    says: str
    field: str
    loosens: str = ""
    needs: Power = Power.NONE
    without: Without = Without.REFUSED


WORDS: tuple[Word, ...] = (
    Word(
        name="established",
        type="session-established",
        says="that a session exists, whose it is, and where it is used",
        field="subject.session",
    ),
    Word(
        name="established-sign-in",
        type="session-established",
        says="`acr`, `amr` or `auth_time`: how and when the user signed in",
        field="data.acr",
        loosens="every mark that the sign-in suffices for, and a revocation",
        needs=Power.PROVE,
    ),
    Word(
        name="established-device",
        type="session-established",
        says="a device, where another source said another",
        field="subject.device",
        loosens="what is known of the device that the session was on",
        needs=Power.LOOSEN,
    ),
    Word(
        name="established-exp",
        type="session-established",
        says="an `exp` later than the token's",
        field="data.exp",
        loosens="the end of the session",
        needs=Power.LOOSEN,
    ),
    Word(
        name="presented",
        type="session-presented",
        says="where and with what a session is used",
        field="subject.session",
    ),
    Word(
        name="presented-device",
        type="session-presented",
        says="a device, where another source said another",
        field="subject.device",
        loosens="what is known of the device that the session was on",
        needs=Power.LOOSEN,
    ),
    Word(
        name="revoked",
        type="session-revoked",
        says="that a session, a user or a device is over",
        field="subject",
    ),
    Word(
        name="segment",
        type="network-change",
        says="a network segment",
        field="data.segment",
        loosens="the segment that another source said",
        needs=Power.LOOSEN,
        without=Without.JOINED,
    ),
    Word(
        name="not-compliant",
        type="device-compliance-change",
        says="`not-compliant`",
        field="data.current_status",
    ),
    Word(
        name="own-compliant",
        type="device-compliance-change",
        says="`compliant`, where it had said otherwise itself",
        field="data.current_status",
        loosens="its own word",
    ),
    Word(
        name="compliant",
        type="device-compliance-change",
        says="`compliant`",
        field="data.current_status",
        loosens="that another source said `not-compliant`, or that nobody vouches for the device",
        needs=Power.LOOSEN,
    ),
    Word(
        name="risk-high",
        type="risk-level-change",
        says="`HIGH`",
        field="data.current_level",
    ),
    Word(
        name="risk-lower",
        type="risk-level-change",
        says="`LOW` or `MEDIUM`",
        field="data.current_level",
        loosens="a higher risk that another source said",
        needs=Power.LOOSEN,
        without=Without.JOINED,
    ),
    Word(
        name="credential",
        type="credential-change",
        says="that a credential changed",
        field="subject.user",
    ),
    Word(
        name="assurance-falls",
        type="assurance-level-change",
        says="an assurance that falls",
        field="data.change_direction",
    ),
    Word(
        name="assurance-rises",
        type="assurance-level-change",
        says="an assurance that rises",
        field="data.current_level",
        loosens="every mark that it suffices for, and a revocation",
        needs=Power.PROVE,
    ),
    Word(
        name="claims",
        type="token-claims-change",
        says="claims that do not say who the user is",
        field="data.claims",
        loosens="the values that another source said",
        needs=Power.LOOSEN,
        without=Without.JOINED,
    ),
    Word(
        name="identity",
        type="token-claims-change",
        says="user, groups or roles",
        field="data.claims",
        loosens="which policies are for the user",
        needs=Power.IDENTIFY,
    ),
    Word(
        name="risk-signal",
        type="risk-signal",
        says="a detection with a weight and a half-life",
        field="data.weight",
        loosens="a greater weight, or a longer half-life, of the same name by another source",
        needs=Power.LOOSEN,
        without=Without.JOINED,
    ),
    Word(
        name="operator-mark",
        type="operator-mark",
        says="that a step-up is asked for, whatever policies say",
        field="type",
        needs=Power.OPERATE,
    ),
    Word(
        name="operator-clear",
        type="operator-clear",
        says="that marks are cleared",
        field="type",
        loosens="operators' marks, and what policies ask for the causes that then stand",
        needs=Power.OPERATE,
    ),
)
_WORD = {word.name: word for word in WORDS}
_AHEAD = frozenset(
    {"not-compliant", "risk-high", "revoked", "credential", "assurance-falls"},
)
"""Words that only tighten: alone they keep a time that lies ahead within the allowed skew."""


class KnownSubject(NamedTuple):
    """An event's subject as far as it is known and the ruling depends on it.

    `own_compliance`: the source itself has said of the device that it is not compliant. `devices`:
    those that other sources say the session is on. `expires_at`: when the session's newest token
    ends (seconds); 0: none has been seen.
    """

    own_compliance: bool = False
    devices: frozenset[str] = frozenset()
    expires_at: float = 0.0


NOTHING_KNOWN = KnownSubject()


class CountsAsSaid(NamedTuple):
    """The event counts, as `signal` has it."""

    signal: Signal


class OwnWordOnly(NamedTuple):
    """The event counts as its source's own word, and takes back nothing that others said."""

    signal: Signal
    word: Word


class NotAllowed(NamedTuple):
    """The event is refused: `key` of `sources[]` would allow it; `field` is what says it."""

    key: str
    field: str
    message: str


Ruling: TypeAlias = CountsAsSaid | OwnWordOnly | NotAllowed


def depends_on_what_is_known(signal: Signal, source: Source) -> bool:
    """Return whether `rule` must know more than the event and its source."""
    if _may_all(source, signal):
        return False
    match signal:
        case DeviceComplianceChange():
            return signal.compliant
        case SessionEstablished():
            return bool(signal.subject.device or signal.exp)
        case SessionPresented():
            return bool(signal.subject.device)
        case _:
            return False


def _may_all(source: Source, signal: Signal) -> bool:
    return source.loosens(signal.kind)


def words_of(
    signal: Signal, known: KnownSubject = NOTHING_KNOWN, identity: frozenset[str] = IDENTITY
) -> tuple[Word, ...]:
    """Return what an event says. `identity` are the claims that say who a user is."""
    return tuple(_WORD[name] for name in _names(signal, known, identity))


def _names(  # noqa: C901, PLR0912 - one case a kind
    signal: Signal, known: KnownSubject, identity: frozenset[str]
) -> tuple[str, ...]:
    match signal:
        case SessionEstablished():
            return _established(signal, known)
        case SessionPresented():
            moves = _moves(signal, known)
            return ("presented", "presented-device") if moves else ("presented",)
        case SessionRevoked():
            return ("revoked",)
        case NetworkChange():
            return ("segment",)
        case DeviceComplianceChange():
            if not signal.compliant:
                return ("not-compliant",)
            return ("own-compliant",) if known.own_compliance else ("compliant",)
        case RiskLevelChange():
            return ("risk-high",) if signal.level is RiskLevel.HIGH else ("risk-lower",)
        case CredentialChange():
            return ("credential",)
        case AssuranceLevelChange():
            falls = signal.direction == "decrease"
            return ("assurance-falls",) if falls else ("assurance-rises",)
        case TokenClaimsChange():
            names = {name for name, _ in signal.claims}
            said = ("claims",) if names - identity else ()
            return (*said, "identity") if names & identity else said
        case RiskSignal():
            return ("risk-signal",)
        case OperatorMark():
            return ("operator-mark",)
        case OperatorClear():
            return ("operator-clear",)
        case _:
            assert_never(signal)


def _established(signal: SessionEstablished, known: KnownSubject) -> tuple[str, ...]:
    names = ["established"]
    if signal.acr or signal.amr or signal.auth_time:
        names.append("established-sign-in")
    if _moves(signal, known):
        names.append("established-device")
    if known.expires_at and signal.exp > known.expires_at:
        names.append("established-exp")
    return tuple(names)


def _moves(signal: SessionEstablished | SessionPresented, known: KnownSubject) -> bool:
    device = signal.subject.device
    return bool(device and known.devices) and device not in known.devices


def rule(
    signal: Signal,
    source: Source,
    now: float,
    known: KnownSubject = NOTHING_KNOWN,
    identity: frozenset[str] = IDENTITY,
) -> Ruling:
    """Return what becomes of an event that this source says, received at `now` (seconds).

    `known` matters only where `depends_on_what_is_known`.
    """
    kind = signal.kind
    if source.may is not None and kind not in source.may and not is_operator(source.name):
        return NotAllowed("may", "type", _refusal(source, f"send {kind}", "may", kind))
    joined: Word | None = None
    words = words_of(signal, known, identity)
    for word in words:
        if has_power(source, word):
            continue
        if word.without is Without.REFUSED:
            what = f"say {word.says}"
            return NotAllowed(word.needs, word.field, _refusal(source, what, word.needs, kind))
        joined = word
    received = _received(signal, words, now, unbound=_may_all(source, signal))
    return CountsAsSaid(received) if joined is None else OwnWordOnly(received, joined)


def has_power(source: Source, word: Word) -> bool:
    """Return whether a source has what a word needs."""
    if is_operator(source.name):
        return True
    match word.needs:
        case Power.NONE:
            return True
        case Power.LOOSEN:
            return source.loosens(word.type)
        case Power.PROVE:
            return source.may_prove
        case Power.IDENTIFY:
            return source.may_identify
        case Power.OPERATE:
            return False
        case _:
            assert_never(word.needs)


def _refusal(source: Source, what: str, key: str, kind: str) -> str:
    """Say in words what a source may not, and which setting would allow it."""
    if key == Power.OPERATE:
        return f"the source {source.name} may not {what}: only an operator may"
    gives = f"{key}: [{kind}]" if key in {"may", "may_loosen"} else f"{key}: true"
    if source.name.startswith(LOCAL_PREFIX):
        return (
            f"a local peer that no source is configured for may not {what}; name it in `sources`"
            f" and give it `{gives}`"
        )
    return f"the source {source.name} may not {what}; `{gives}` in its `sources` entry gives it"


def _received(signal: Signal, words: tuple[Word, ...], now: float, *, unbound: bool) -> Signal:
    """Return the event with no time of a proof or loosening later than its receipt."""
    moment = int(now * MICROSECONDS)
    changes: dict[str, object] = {}
    if signal.stamp.time > moment and not all(word.name in _AHEAD for word in words):
        changes["stamp"] = Stamp(moment, signal.stamp.id)
    if isinstance(signal, SessionEstablished):
        if signal.auth_time > now:
            changes["auth_time"] = int(now)
        longest = int(now) + LONGEST_UNKNOWN_LIFE
        if signal.exp > longest and not unbound:
            changes["exp"] = longest
    return msgspec.structs.replace(signal, **changes) if changes else signal
