"""Ends sessions as identity providers ask, from the request to its answer.

    request --> signed by an issuer of `intake.issuers` --> one event --> durable --> 200 or 204

A request counts once: its id is remembered in the store with what it ended, as other events' ids
are. With `intake.wait` it is answered as done only once every live sidecar has it. Until it was
answered so, the same one again is the provider's next try, and answered as the first would be.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Protocol

import msgspec
from starlette.responses import Response

from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.events.intake import DurableEvent, EventIntake
from sidecar.adapters.intake.listener import PostedRequest
from sidecar.adapters.intake.signed_requests import RequestVerifier, SignedClaims
from sidecar.adapters.listening.application import JSON, RequestRefused, retry_after
from sidecar.adapters.listening.asgi import Records
from sidecar.domain.facts.signal import SessionRevoked
from sidecar.service.intake.ended_users import Meant
from sidecar.service.observations.observations import CredentialRefused
from sidecar.service.observations.receiver import LOGOUT_REQUESTS, LogoutOutcome, LogoutTaken
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.events.socket_lines import EventRequest, Refusal
from sidecar.wire.http.form_fields import UnreadableFields, fields_of
from sidecar.wire.logout import logout_tokens, revocation_requests
from sidecar.wire.logout.logout_tokens import InvalidLogout, SignedRequest
from sidecar.wire.logout.revocation_requests import NotFound, Uncovered
from sidecar.wire.settings.intake import IntakeIssuer
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.tokens import Issuer

FORM = "application/x-www-form-urlencoded"
_LOGOUT, _REVOCATION = LOGOUT_REQUESTS
_REALM = 'Bearer realm="global token revocation"'


class Ids(Protocol):
    """Remembers, for all sidecars, for what the id of a request has counted."""

    async def claim(self, event_id: str, content: str) -> bool:
        """Return whether an id counts for this, and for nothing else.

        Raises `Unavailable`, `Overloaded`.
        """

    async def end(self, event_id: str) -> bool:
        """Note that a request was answered as done; return False if it had been.

        Raises `Unavailable`, `Overloaded`.
        """


class Users(Protocol):
    """Knows which users there are."""

    async def is_known(self, signal: SessionRevoked) -> bool:
        """Return whether anything is known of the user. Raises `Unavailable`, `Overloaded`."""

    async def meant_by(self, signal: SessionRevoked) -> Meant:
        """Return what the session of a logout is here. Never raises."""


class _End(NamedTuple):
    """The end of a request: its status, and a word and a sentence for its sender."""

    status: int
    outcome: LogoutOutcome
    error: str = ""
    description: str = ""


_ALL_ENDED = _End(
    200,
    LogoutOutcome.ALL_SESSIONS,
    description="no token here names the session, so that all of the user's were ended",
)
_UNKNOWN = _End(
    200, LogoutOutcome.UNKNOWN_SESSION, description="nobody has shown this session here"
)
_NOTHING_ENDED = _End(
    400,
    LogoutOutcome.NO_SESSION,
    "invalid_request",
    "sid: access tokens of this issuer do not name their session, so that nothing was ended; have"
    " them name it, or have logouts name the user (sub)",
)


class LogoutDoor:
    """Answers logout tokens and requests for global token revocation."""

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        *,
        verifier: RequestVerifier,
        events: EventIntake,
        ids: Ids,
        users: Users,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        telemetry: Records,
    ) -> None:
        self._verifier = verifier
        self._events = events
        self._ids = ids
        self._users = users
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._guesses = GuessLimit()

    async def logout(self, posted: PostedRequest) -> Response:
        """Answer a logout token (OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8)."""
        issuer, event_id = "", ""
        try:
            believed = await self._verifier.verify(_token_of(posted), logout_tokens.TYPES)
            issuer = believed.issuer.issuer
            logout_tokens.check_logout(believed.claims)
            signed = self._signed(believed, believed.issuer.clients)
            event_id = signed.event_id
            signal = logout_tokens.logout_of(believed.claims, signed, self._of(believed.issuer))
            end = await self._log_out(signal)
        except InvalidLogout as error:
            end = _refused(error)
        except (Overloaded, Unavailable) as error:
            end = _later(error)
        self._record_outcome(_LOGOUT, end, issuer, event_id)
        return _error_of(end)

    async def _log_out(self, signal: SessionRevoked) -> _End:
        """End the session; if it is not known which that is, all of the user's (section 2.7)."""
        meant = await self._users.meant_by(signal)
        wanted = logout_tokens.of_user(signal) if meant is Meant.USER else signal
        end = await self._take(wanted)
        if end.outcome is not LogoutOutcome.DONE:
            return end
        if meant is Meant.NOTHING:
            return _NOTHING_ENDED
        try:
            if not await self._ids.end(signal.stamp.id):
                words = "jti: it has counted before, and does nothing again"
                return _End(400, LogoutOutcome.REPLAYED, "invalid_request", words)
        except (Overloaded, Unavailable):
            pass  # it is durable, on this sidecar's disk
        return {Meant.USER: _ALL_ENDED, Meant.STRANGER: _UNKNOWN}.get(meant, end)

    async def revocation(self, posted: PostedRequest) -> Response:
        """Answer a request for global token revocation."""
        issuer, event_id = "", ""
        try:
            believed, signed = await self._bearer(posted)
        except InvalidLogout as error:
            raise self._wrong(posted, error) from None
        except (Overloaded, Unavailable) as error:
            end = _later(error)
        else:
            issuer, event_id = believed.issuer.issuer, signed.event_id
            end = await self._revoke(posted, believed, signed)
        self._record_outcome(_REVOCATION, end, issuer, event_id)
        return Response(status_code=204) if end.status == HTTPStatus.NO_CONTENT else _error_of(end)

    async def _bearer(self, posted: PostedRequest) -> tuple[SignedClaims, SignedRequest]:
        scheme, _, token = (posted.authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise InvalidLogout("a signed JWT is asked for, as bearer token")
        believed = await self._verifier.verify(token.strip(), revocation_requests.TYPES)
        return believed, self._signed(believed, believed.issuer.endpoints)

    def _wrong(self, posted: PostedRequest, error: InvalidLogout) -> RequestRefused:
        """Refuse a credential that is not to be believed: 401, or 429 where there were many."""
        shown = posted.authorization is not None
        refused = LogoutOutcome.REFUSED
        self._record_outcome(_REVOCATION, _End(401, refused, description=error.description), "", "")
        if shown:
            self._telemetry.record(CredentialRefused(door="intake", address=posted.address))
            if not self._guesses.left(posted.address):
                return RequestRefused(429, "too many were wrong; try again later", retry_after(1))
            self._guesses.wrong(posted.address)
        challenge = _REALM + (', error="invalid_token"' if shown else "")
        return RequestRefused(401, error.description, {"www-authenticate": challenge})

    async def _revoke(
        self, posted: PostedRequest, believed: SignedClaims, signed: SignedRequest
    ) -> _End:
        try:
            subject = revocation_requests.subject_of(_json_of(posted))
            settings = self._settings()
            signal = revocation_requests.revocation_of(
                subject,
                signed,
                believed.issuer,
                self._of(believed.issuer).issuer,
                settings.tokens.namespaces,
            )
            # The token does not say whom it is for: it must not serve for another user.
            if not await self._ids.claim(signed.event_id, signal.content):
                words = "the token has counted for another request"
                return _End(401, LogoutOutcome.REPLAYED, "invalid_token", words)
            known = await self._users.is_known(signal)
            end = await self._take(signal)
        except InvalidLogout as error:
            return _refused(error)
        except Uncovered as error:
            return _End(422, LogoutOutcome.REFUSED, "unprocessable", str(error))
        except NotFound as error:
            return _End(404, LogoutOutcome.NOT_FOUND, "not_found", str(error))
        except (Overloaded, Unavailable) as error:
            return _later(error)
        if end.outcome is not LogoutOutcome.DONE:
            return end
        if not known:
            words = "nothing is known of this user; sign-ins until now are refused all the same"
            return _End(404, LogoutOutcome.NOT_FOUND, "not_found", words)
        return end._replace(status=204, error="", description="")

    def _signed(self, believed: SignedClaims, audiences: tuple[str, ...]) -> SignedRequest:
        issuer = believed.issuer
        return logout_tokens.signed_of(
            believed.claims,
            audiences,
            now=self._clock(),
            skew=issuer.skew,
            age=issuer.max_age,
        )

    def _of(self, issuer: IntakeIssuer) -> Issuer:
        """Return the issuer whose users it speaks of, as configured now."""
        wanted = issuer.users_of or issuer.issuer
        for one in self._settings().tokens.issuers:
            if one.issuer == wanted:
                return one
        raise InvalidLogout("iss: none of its users are known here any more (tokens.issuers)")

    async def _take(self, signal: SessionRevoked) -> _End:
        """Have the event taken, and wait for all sidecars where that is configured."""
        wait = self._settings().intake.wait or None
        outcome = await self._events.take(EventRequest(signal, wait, msgspec.UNSET, ""))
        match outcome:
            case DurableEvent(_, acknowledgement):
                if acknowledgement is not None and not acknowledgement.is_everywhere:
                    have, live = acknowledgement
                    known = f"{have} of {live} sidecars are" if live else "one sidecar is"
                    words = f"it is durable, but only {known} known to have it yet"
                    return _End(503, LogoutOutcome.UNSETTLED, "temporarily_unavailable", words)
                return _End(200, LogoutOutcome.DONE)
            case Refusal():
                if outcome.field == "id":
                    words = "jti: it has counted for something else"
                    return _End(400, LogoutOutcome.REPLAYED, "invalid_request", words)
                return _End(403, LogoutOutcome.REFUSED, "access_denied", outcome.message)
            case _:
                return _later(outcome)

    def _record_outcome(self, request: str, end: _End, issuer: str, event_id: str) -> None:
        self._telemetry.record(
            LogoutTaken(
                request=request,
                outcome=end.outcome,
                issuer=issuer,
                id=event_id,
                detail=end.description,
            )
        )


def _token_of(posted: PostedRequest) -> str:
    if posted.content_type != FORM:
        raise InvalidLogout(f"the content type must be {FORM}")
    try:
        fields = fields_of(posted.body, 20, blank=False)
    except UnreadableFields as error:
        raise InvalidLogout(f"the form {error.words}") from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise InvalidLogout("the form must have one logout_token")
    return tokens[0]


def _json_of(posted: PostedRequest) -> bytes:
    if posted.content_type != "application/json":
        raise InvalidLogout("the content type must be application/json")
    return posted.body


def _refused(error: InvalidLogout) -> _End:
    return _End(400, LogoutOutcome.REFUSED, "invalid_request", error.description)


def _later(error: Overloaded | Unavailable) -> _End:
    busy = isinstance(error, Overloaded)
    outcome = LogoutOutcome.OVERLOADED if busy else LogoutOutcome.UNAVAILABLE
    return _End(503, outcome, "temporarily_unavailable", str(error) or "try again later")


def _error_of(end: _End) -> Response:
    """Return the answer in the words of OAuth (RFC 6749, section 5.2), as section 2.8 asks."""
    if end.status == HTTPStatus.OK:
        return Response(media_type=JSON)
    body = {"error": end.error, "error_description": end.description}
    headers = retry_after(1) if end.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(msgspec.json.encode(body), end.status, headers, JSON)
