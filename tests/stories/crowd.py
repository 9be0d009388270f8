"""Very many live sessions, written into the store as sidecars would have written them."""

from typing import Any, TypeAlias

import redis

from sidecar.adapters.clock import now
from sidecar.domain.facts.from_signal import facts_from
from sidecar.domain.facts.signal import RiskLevelChange, SessionEstablished, Signal, Subject
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.wire.store.event_keys import event_field
from sidecar.wire.store.keys import StoreKeys, session_name
from sidecar.wire.store.records import WHO_ISSUER, WHO_SESSION, WHO_USER, encode_facts, owner_fields

PER_USER = 4
FAR = 4_000_000_000_000
AT_ONCE = 2000
Fields: TypeAlias = dict[Any, Any]
"""As redis-py types a mapping that it takes."""


def settle(
    client: redis.Redis,
    sessions: int,
    *,
    risky: int,
    per_user: int = PER_USER,
    namespace: str = "https://id.example",
) -> None:
    """So many sessions, `per_user` a user; every `risky`-th user is at high risk (0: none)."""
    names = StoreKeys("su")
    start = now() - 600
    for first in range(0, sessions, AT_ONCE):
        with client.pipeline(transaction=False) as pipe:
            for number in range(first, min(sessions, first + AT_ONCE)):
                user, session = f"user-{number // per_user}", f"crowd-{number}"
                name = session_name(namespace, user, session)
                who: Fields = {
                    WHO_ISSUER: namespace.encode(),
                    WHO_USER: user.encode(),
                    WHO_SESSION: session.encode(),
                }
                index = f"{names.user_index(name.user).decode()}"
                pipe.hset(names.session_record(name), mapping={**who, **_began(number, start)})
                owner: Fields = dict(owner_fields(user, shown=True).items())
                pipe.hset(names.locator(name.session), mapping=owner)
                pipe.zadd(index, {str(name): FAR})
                if risky and number % per_user == 0 and number // per_user % risky == 0:
                    pipe.hset(names.user_record(name.user), mapping=_rise(number, start))
            pipe.execute()


def _began(number: int, start: float) -> Fields:
    return _fields(
        SessionEstablished(
            stamp=at(start, f"began-{number}"),
            subject=Subject(session=f"crowd-{number}"),
            ip="192.0.2.1",
            acr="single-factor",
            auth_time=int(start),
        )
    )


def _rise(number: int, start: float) -> Fields:
    stamp = at(start + 60, f"rise-{number}")
    return _fields(RiskLevelChange(stamp=stamp, subject=Subject(user="u"), level=RiskLevel.HIGH))


def _fields(signal: Signal) -> Fields:
    fields: Fields = dict(encode_facts(facts_from(signal, lambda _: Place()).facts).items())
    fields[event_field(signal.stamp.id)] = signal.stamp.encode().encode()
    return fields
