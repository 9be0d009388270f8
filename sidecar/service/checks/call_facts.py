"""Folds into a session what a call shows of it: address, device, sign-in, claims.

Each is a fact like any other, known here before the call is answered; the write-back spreads
it. In the steady state nothing is new, and nothing is done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    ClaimsSeen,
    ContextsShown,
    DeviceBound,
    Fact,
    MembershipsShown,
    PlaceProven,
    Scope,
    Seen,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    seen_in,
)
from sidecar.domain.facts.first_shown import (
    context_counted,
    counted,
    counted_when,
    is_context_noted,
    is_noted,
)
from sidecar.domain.facts.memberships import (
    GROUPS,
    INCLUDED,
    ROLES,
    TokenMemberships,
    is_news,
    updated,
)
from sidecar.domain.policy.conditional_access import Circumstance
from sidecar.domain.session.fold import is_shown
from sidecar.domain.session.risk import TOKEN_BINDING_CHANGE
from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import Authentication, is_later
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.ports.calls import Call
from sidecar.service.view.live_session import Identity, Live, Tracked
from sidecar.service.view.view import View
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.entries import (
    Identified,
    KeptUntil,
    Moved,
    OwnedBy,
    Said,
    Together,
    UsedIn,
)
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import app_field, last_seen, owner_fields, sighted_in
from sidecar.wire.tokens.claims import Token

AGENT_CHARACTERS = 256
BINDINGS_KEPT = 8
UNBOUND = "none"
_OURS = frozenset({"user", GROUPS, ROLES})
"""Claims that are read as the issuer's settings say, and not by the name that policies use."""


_Saying: TypeAlias = tuple[Tracked, Iterable[Said]]
"""What is to be said of a record."""


_Memberships: TypeAlias = tuple[tuple[str, TokenMemberships], ...]
"""The groups and roles that a token shows, by kind."""


class _Binding(NamedTuple):
    claim: str
    known: tuple[str, ...]
    is_suspect: bool


class CallFacts:
    """Folds calls into sessions of the view."""

    def __init__(
        self,
        *,
        settings: Settings,
        view: View,
        place_of: Callable[[str], Place],
        new_id: Callable[[], str],
    ) -> None:
        self._view = view
        self._place_of = place_of
        self._new_id = new_id
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Use this configuration from now on; `want_claims` must follow."""
        self._settings = settings
        self._issuers = {one.issuer: one for one in settings.tokens.issuers}
        self._leeway = max((one.leeway for one in self._issuers.values()), default=0.0)
        self._claims = frozenset[str]()

    def want_claims(self, names: Iterable[str]) -> None:
        """Keep these claims of tokens: policies ask for them."""
        self._claims = frozenset(names)

    def take(self, live: Live, token: Token | None, call: Call) -> None:
        """Fold in what the call shows of the session."""
        state, now = live.state, call.now
        # Of one that was read just now it is said in its user's record, by whichever sidecar.
        live.seen_at = live.seen_at or last_seen(live.users.record, live.name.session)
        interval = self._settings.sessions.seen_interval
        moved = bool(call.ip) and call.ip != state.ip
        agent = call.user_agent[:AGENT_CHARACTERS]
        held = state.circumstances.get(Circumstance.USER_AGENT)
        new_agent = bool(agent) and (held is None or held.value != agent)
        same_token = token is None or live.token is token
        if same_token and not moved and not new_agent and self.is_recent(live, now):
            return
        stamp = Stamp(int(now * MICROSECONDS), self._new_id())
        facts: list[Fact] = []
        if moved:
            facts.append(Sighted(stamp=stamp, ip=call.ip, place=self._place_of(call.ip)))
        if new_agent:
            facts.append(AgentSeen(stamp=stamp, user_agent=agent))
        sayings: list[_Saying] = []
        if token is not None:
            if live.token is not token:
                facts.extend(self._shown(live, token, call, stamp))
                live.token = token
            sayings = self._extend(live, token, now, fresh=state.established == 0)
        if facts:
            sayings.append((live.own, (Together(tuple(facts)),)))
        of_user: list[Said] = [*self._proven(live, facts)]
        ip = call.ip or state.ip
        if ip and (moved or now - live.seen_at >= interval):
            seen = Seen(stamp=stamp, session=live.name.session, ip=ip, place=self._place_of(ip))
            of_user.append(Moved(seen) if moved else seen)
        if of_user:
            sayings.append((live.users, of_user))
        live.seen_at = now
        if sayings:
            # All of it is one step: it has one stamp, and is folded once.
            self._view.write(*sayings)

    def is_recent(self, live: Live, now: float) -> bool:
        """Return whether it need not be noted again that the session is in use."""
        return 0 <= now - live.seen_at < self._settings.sessions.seen_interval

    def is_taken(self, live: Live, token: Token, call: Call) -> bool:
        """Return whether the session has all that the call shows of it: `take` would do nothing."""
        state = live.state
        agent = call.user_agent[:AGENT_CHARACTERS]
        held = state.circumstances.get(Circumstance.USER_AGENT)
        return (
            live.token is token
            and call.ip in ("", state.ip)
            and (not agent or (held is not None and held.value == agent))
            and self.is_recent(live, call.now)
        )

    def adds_nothing(self, live: Live, token: Token, call: Call) -> bool:
        """Return whether the call, if it came again after others, would show nothing new."""
        stamp = Stamp(int(call.now * MICROSECONDS), "")
        return self.is_taken(live, token, call) and not self._shown(live, token, call, stamp)

    def unread(self, token: Token, call: Call) -> Live:
        """Make a session that cannot be read now, of what is known here and of what the call shows.

        It is there to judge this call by, and not kept.
        """
        whose = Identity(token.namespace, token.user, token.session)
        live = self._view.unread(whose, token.device)
        stamp = Stamp(int(call.now * MICROSECONDS), self._new_id())
        facts = self._shown(live, token, call, stamp)
        agent = call.user_agent[:AGENT_CHARACTERS]
        if call.ip and call.ip != live.state.ip:
            facts.append(Sighted(stamp=stamp, ip=call.ip, place=self._place_of(call.ip)))
        if agent:
            facts.append(AgentSeen(stamp=stamp, user_agent=agent))
        return self._view.unread(whose, token.device, facts)

    def note_ahead(self, token: Token, now: float) -> None:
        """Keep that a sign-in which is dated ahead is shown, of a session that cannot be read now.

        Else it would count from its own time on, wherever it is shown next.
        """
        authentication = token.authentication
        if authentication.auth_time <= now:
            return
        whose = Identity(token.namespace, token.user, token.session)
        if is_noted(self._view.unread(whose, token.device).state, authentication):
            return
        stamp = Stamp(int(now * MICROSECONDS), self._new_id())
        fact = SignedIn(stamp=stamp, authentication=authentication)
        until = max(token.expires_at, now + self._settings.sessions.min_ttl)
        self._view.remember(whose, (fact,), int(until * 1000))

    def _proven(self, live: Live, facts: Sequence[Fact]) -> list[PlaceProven]:
        """Return what the sign-ins prove for the user's later sessions on their devices."""
        evaluator = self._view.evaluator
        signed_in = (fact for fact in facts if isinstance(fact, SignedIn))
        return [place for one in signed_in for place in evaluator.proven_by(live.state, one)]

    def _shown(self, live: Live, token: Token, call: Call, stamp: Stamp) -> list[Fact]:
        state = live.state
        facts: list[Fact] = []
        if token.device and not (token.device == state.device and state.vouched):
            facts.append(DeviceBound(stamp=stamp, device=token.device))
        shown = state.attached if call.ip else state.sign_ins
        if not _is_known(live, token, shown, stamp.second) or not state.established:
            came = self._came_with(token, call)
            facts.append(
                SignedIn(stamp=stamp, authentication=token.authentication, shown_with=came)
            )
        if not _are_known(state, token.contexts, token.contexts_at, stamp.second):
            facts.append(
                ContextsShown(stamp=stamp, contexts=token.contexts, second=token.contexts_at)
            )
        memberships = self._memberships(token)
        grown = tuple(
            (kind, shown)
            for kind, shown in memberships
            if updated(state.memberships.get(kind), shown) != state.memberships.get(kind)
        )
        if grown:
            facts.append(MembershipsShown(stamp=stamp, memberships=grown))
        changed = (*_members_of(state, memberships), *self._claims_of(state, token))
        binding = self._binding(live, token, stamp.second)
        if binding is not None:
            changed = (*changed, (binding.claim, binding.known))
            if binding.is_suspect:
                facts.append(
                    SignalRaised(stamp=stamp, scope=Scope.SESSION, name=TOKEN_BINDING_CHANGE)
                )
        if changed:
            at = token.issued_at
            facts.append(ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=changed, issued_at=at))
        return facts

    def _came_with(self, token: Token, call: Call) -> ShownWith:
        """Return the circumstances that a sign-in can prove: where it was made, or first shown."""
        made_at = token.signed_in_ip
        ip = made_at or call.ip
        there = made_at in {"", call.ip}
        return ShownWith(
            ip,
            self._place_of(ip) if ip else Place(),
            token.device,
            token.binding.name,
            call.user_agent[:AGENT_CHARACTERS] if there else "",
            made_there=bool(made_at),
        )

    def _binding(self, live: Live, token: Token, seen: int) -> _Binding | None:
        """Return what a token is bound to, if that is new for its client in this session.

        A key or certificate that comes with a later sign-in is as good as that sign-in. Without
        one, somebody else may have got hold of what the first was there to protect. The token is
        `seen` in that second.
        """
        state = live.state
        claim = f"cnf:{token.client or token.app}"
        held = state.claims.get(claim)
        name = token.binding.name or (UNBOUND if held else "")
        known = held[0] if held else ()
        if not name or name in known:
            return None
        second = ((held[1] if held else None) or state.established) // MICROSECONDS
        signed_in = counted_when(state, token.authentication, seen).auth_time
        is_suspect = bool(held) and not is_later(signed_in, second)
        return _Binding(claim, (*known[1 - BINDINGS_KEPT :], name), is_suspect)

    def _claims_of(self, state: State, token: Token) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the claims of a token that are not known of the session yet."""
        claims = (("user", (token.user,)), *token.claims)
        for name, values in claims:
            if name != "user" and (name in _OURS or name not in self._claims):
                continue
            held = state.claims.get(name)
            later = token.issued_at > state.claims_issued.get(name, 0)
            if held is None or (held[0] != values and later):
                yield name, values

    def _memberships(self, token: Token) -> _Memberships:
        """Return the groups and roles of a token as memberships of its user."""
        issuer = self._issuers.get(token.issuer)
        signed_in, issued = token.authentication.auth_time, token.issued_at
        groups = TokenMemberships(
            tuple(sorted(token.groups)) if token.groups_known else None,
            token.groups_listed,
            signed_in,
            issued,
            issuer.groups_unknown.value if issuer else INCLUDED,
        )
        roles = TokenMemberships(
            tuple(sorted(token.roles)) if token.roles_known else None,
            token.roles_listed,
            signed_in,
            issued,
            issuer.roles_unknown.value if issuer else INCLUDED,
        )
        return (GROUPS, groups), (ROLES, roles)

    def _extend(self, live: Live, token: Token, now: float, *, fresh: bool) -> list[_Saying]:
        """Keep the session for a while longer than its newest token may be shown.

        Return what is to be said of its records for that.
        """
        settings = self._settings
        until = max(token.expires_at + self._leeway, now + settings.sessions.min_ttl)
        # Times move in steps, so that a session in use is not written at every call.
        step = settings.sessions.seen_interval
        wanted = (settings.app.id,) if settings.app.id else token.apps
        apps = [app for app in wanted if app]
        own_record, locator_record = live.own.record, live.locator.record
        is_owner_said = owner_fields(live.user, shown=True).items() <= locator_record.items()
        if (
            is_owner_said
            and not fresh
            and until < live.expires_at + step
            and all(app_field(app) in own_record for app in apps)
        ):
            return []
        live.expires_at = until = max(until, live.expires_at)
        expire_at = int(until * 1000)
        name = live.name
        own = live.own
        own.expire_at = max(own.expire_at, expire_at)
        device = token.device or live.state.device
        sayings: list[_Saying] = [(own, (Identified(*live.identity, device), *map(UsedIn, apps)))]
        keep: tuple[KeptUntil, ...] = ()
        if until - now > settings.sessions.facts_ttl:
            # What is known of the user or device must stop this token for as long as it is shown.
            keep = (KeptUntil(expire_at),)
            live.users.expire_at = max(live.users.expire_at, expire_at)
            sayings.append((live.users, keep))
        self._view.list_session(live, expire_at)
        if device:
            named = digest(live.namespace, device)
            if keep:
                on = self._view.device(named)
                on.expire_at = max(on.expire_at, expire_at)
                sayings.append((on, keep))
            self._view.list_session(live, expire_at, named)
        if not is_owner_said and locator_record:
            # What came before: now it is known that it was this user, too.
            came_before = [
                Moved(seen_in(before, name.session)) for before in sighted_in(locator_record)
            ]
            sayings.append((live.users, came_before))
        live.locator.expire_at = max(live.locator.expire_at, expire_at)
        sayings.append((live.locator, (OwnedBy(live.user, shown=True),)))
        return sayings


def _members_of(state: State, memberships: _Memberships) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the groups and roles of a token, unless a later token has others."""
    for kind, shown in memberships:
        names, known = shown.names, state.memberships.get(kind)
        held = state.claims.get(kind)
        if names is None or (held is not None and held[0] == names):
            continue
        if held is None or known is None or is_news(known, shown):
            yield kind, names


def _is_known(live: Live, token: Token, before: Sequence[Authentication], second: int) -> bool:
    """Return whether a sign-in that is shown in this second adds nothing to those before.

    Of one that is dated ahead, that it was shown already is news, whatever else is known.
    """
    state, authentication = live.state, token.authentication
    if authentication.auth_time > second and not is_noted(state, authentication):
        return False
    return is_shown(counted(state, authentication), before)


def _are_known(state: State, contexts: tuple[str, ...], at: int, second: int) -> bool:
    """Return whether contexts that are shown as of second `at` add nothing to what is known."""
    return all(
        (at <= second or is_context_noted(state, one, at))
        and state.shown_contexts.get(one, 0) >= context_counted(state, one, at)
        for one in contexts
    )
