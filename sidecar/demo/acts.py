"""The acts of the story, in order. Each step says what must come of it.

An act takes the cast and plays; it leaves Alice with a session that is clear, but for the last
ones, which say what they leave.
"""

from collections.abc import Awaitable, Callable
from statistics import median
from typing import TypeAlias

from sidecar.demo.browser import Astray, SignedInUser
from sidecar.demo.cast import (
    ALLOWED,
    DENIED,
    INVALID,
    PENDING,
    STEP_UP,
    Called,
    Cast,
    Took,
    later_second,
)
from sidecar.domain.values.plural import counted

Act: TypeAlias = Callable[[Cast, "Plot"], Awaitable[None]]

BERLIN = "192.0.2.10"
LISBON = "198.51.100.7"
ROUTINE = "GET /payslips"
SENSITIVE = "PUT /bank-details"
REPEATED = 20
_PLACES = {BERLIN: "Berlin", LISBON: "Lisbon"}


class Plot:
    """State that later acts need of earlier ones: the tokens, and how long signals took."""

    def __init__(self) -> None:
        self._held: dict[str, SignedInUser] = {}
        self.took: list[Took] = []

    def keep(self, who: str, signed: SignedInUser) -> None:
        """Replace the person's token by this one."""
        self._held[who] = signed

    def token(self, who: str) -> SignedInUser:
        """Return the person's token; raises `Astray` where there is none."""
        if who not in self._held:
            raise Astray(f"{who} has not signed in")
        return self._held[who]


async def ordinary_morning(cast: Cast, plot: Plot) -> None:
    """Play the sign-ins and ordinary calls of a morning on which nothing has happened yet."""
    cast.timeline.act(
        "An ordinary morning",
        "Payroll asks its sidecar about every call. Most calls are routine; changing bank details",
        "is sensitive (authentication context c1). Nothing has happened: nobody is asked twice.",
    )
    for browser in (cast.alice, cast.bob):
        signed = await browser.sign_in()
        name = browser.person.name
        plot.keep(name, signed)
        cast.timeline.step(
            name.title(),
            "signs in with a password, in Berlin",
            f"acr={signed.acr}",
            expected="acr=single-factor",
        )
    await _call(cast, plot, "alice", ROUTINE, ALLOWED)
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED)
    await _call(cast, plot, "bob", SENSITIVE, ALLOWED)


async def restricted_network(cast: Cast, plot: Plot) -> None:
    """Play an event that marks Alice's session, and the step-up without which it stays marked."""
    cast.timeline.act(
        "A signal: Alice's laptop joins a restricted network segment",
        "The network's controller writes one line into the sidecar's socket. It marks Alice's",
        "session and no other; what she does every day goes on.",
    )
    signed = plot.token("alice")
    took = await cast.strike(signed, BERLIN, "network-change", segment="restricted")
    plot.took.append(took)
    cast.timeline.step("Network", "network-change: alice's session is in restricted", "marked")
    cast.timeline.note(
        f"{_ms(took.check)} after the event was sent, a sensitive call is challenged;",
        f"{_ms(took.watch)} after it was sent, an app that watches the session is notified",
    )
    await _call(cast, plot, "alice", ROUTINE, PENDING)
    challenged = await _call(cast, plot, "alice", SENSITIVE, STEP_UP)
    _print_challenge(cast, challenged)
    await _call(cast, plot, "bob", SENSITIVE, ALLOWED)
    old = plot.token("alice")
    plot.keep("alice", await cast.alice.sign_in())
    cast.timeline.say(
        "Alice", "fetches a newer token for the same sign-in: that proves nothing new"
    )
    await _call(cast, plot, "alice", SENSITIVE, STEP_UP)
    await _step_up(cast, plot, challenged, expected="acr=mfa")
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED)
    await _notified(cast, plot, "alice", "clear")
    called = await cast.call(old, SENSITIVE, BERLIN)
    cast.timeline.step(
        "Alice",
        f"{SENSITIVE} with the older token: each call is judged by its own",
        called.outcome,
        expected=STEP_UP,
        why=called.why,
    )


async def another_country(cast: Cast, plot: Plot) -> None:
    """Play a change of country that no event reports: the check itself sees it."""
    cast.timeline.act(
        "No event at all: the same session is seen in Lisbon",
        "The check that comes from a new place is judged with that place, before it is answered.",
    )
    await _call(cast, plot, "alice", ROUTINE, PENDING, ip=LISBON)
    challenged = await _call(cast, plot, "alice", SENSITIVE, STEP_UP, ip=LISBON)
    _print_challenge(cast, challenged)
    await _notified(cast, plot, "alice", "step_up")
    await _step_up(cast, plot, challenged, expected="acr=phr")
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED, ip=LISBON)
    await _notified(cast, plot, "alice", "clear")
    cast.timeline.say("Alice", "travels between two places that she has proven: no more questions")
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED, ip=BERLIN)
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED, ip=LISBON)


async def user_at_risk(cast: Cast, plot: Plot) -> None:
    """Play an event that marks every session of a user; the next one withdraws the marks."""
    cast.timeline.act(
        "One event, every session of a user",
        "The identity provider takes Carol for compromised, then finds that she is not. Marks that",
        "nobody has proven go away with their cause.",
    )
    for number in ("carol-1", "carol-2"):
        cast.carol.forget()
        plot.keep(number, await cast.carol.sign_in())
        await _call(cast, plot, number, SENSITIVE, ALLOWED)
    for level, outcome in (("HIGH", STEP_UP), ("LOW", ALLOWED)):
        await cast.event("risk-level-change", {"user": "carol"}, data={"current_level": level})
        cast.timeline.say("IdP", f"risk-level-change: carol is {level}")
        await _call(cast, plot, "carol-1", SENSITIVE, outcome)
        await _call(cast, plot, "carol-2", SENSITIVE, outcome)
        # Or it would be over before it was counted, and nobody would count it.
        await cast.marks(("risky-user", "risk-level-change"))
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED)


async def unhealthy_device(cast: Cast, plot: Plot) -> None:
    """Play a condition that no sign-in can satisfy: calls are denied until the fact changes."""
    cast.timeline.act(
        "Something that no sign-in can mend",
        "Device management reports that Alice's laptop is out of compliance. To ask for her key",
        "would not help: the call is refused, with the reason, until the laptop is healthy.",
    )
    device = cast.alice.person.device
    for status, outcome in (("not-compliant", DENIED), ("compliant", ALLOWED)):
        kind = "device-compliance-change"
        await cast.event(kind, {"device": device}, data={"current_status": status})
        cast.timeline.say("MDM", f"{kind}: {device} is {status}")
        await _call(cast, plot, "alice", SENSITIVE, outcome)
        await cast.marks(("healthy-devices-only", kind))


async def many_times(cast: Cast, plot: Plot) -> None:
    """Repeat the event in many sessions and print how long it took: one time proves little."""
    cast.timeline.act(
        "How long does it take?",
        "From the event being sent to the next sensitive call being challenged, in this process on",
        "this machine, which also runs the provider and both ends of every connection.",
    )
    clear = 0
    for _ in range(REPEATED):
        cast.carol.forget()
        signed = await cast.carol.sign_in()
        clear += (await cast.call(signed, SENSITIVE, BERLIN)).outcome == ALLOWED
        plot.took.append(await cast.strike(signed, BERLIN, "network-change", segment="restricted"))
    cast.timeline.step(
        "Carol",
        f"opens {REPEATED} more sessions; each is then marked by an event",
        f"{clear} clear before",
        expected=f"{REPEATED} clear before",
    )
    for what, times in (
        ("to a check that says step up", [took.check for took in plot.took]),
        ("to the line for an app that watches", [took.watch for took in plot.took]),
    ):
        cast.timeline.step(
            "Sidecar",
            f"{what}: {_ms(min(times))} to {_ms(max(times))}, {counted(len(times), 'event')}",
            f"median {_ms(median(times))}",
        )


async def revoked(cast: Cast, plot: Plot) -> None:
    """Play a revocation, which ends even routine calls. Alice then begins another session."""
    cast.timeline.act(
        "The end of a session",
        "An administrator revokes it. When the socket says that the event is durable, this sidecar",
        "has it in force: even routine calls are over. Signing in anew begins another session.",
    )
    session = plot.token("alice").session
    await cast.event("session-revoked", {"session": session}, data={"reason": "laptop lost"})
    cast.timeline.say("Admin", "session-revoked: alice's session, since her laptop is lost")
    await _call(cast, plot, "alice", ROUTINE, INVALID)
    await _notified(cast, plot, "alice", "revoked")
    await _call(cast, plot, "bob", SENSITIVE, ALLOWED)
    cast.alice.forget()
    plot.keep("alice", await cast.alice.sign_in())
    cast.timeline.say("Alice", "signs in anew with her password")
    await _call(cast, plot, "alice", SENSITIVE, ALLOWED)


async def _call(  # noqa: PLR0913 - the parts of a sentence
    cast: Cast, plot: Plot, who: str, call: str, expected: str, *, ip: str = BERLIN
) -> Called:
    called = await cast.call(plot.token(who), call, ip)
    person, _, session = who.partition("-")
    which = f" in session {session}" if session else ""
    kind = "sensitive" if call == SENSITIVE else "routine"
    what = f"{call} ({kind}){which} from {_PLACES[ip]}"
    cast.timeline.step(person.title(), what, called.outcome, expected=expected, why=called.why)
    return called


async def _step_up(cast: Cast, plot: Plot, challenged: Called, *, expected: str) -> None:
    """Send Alice back to the provider with the challenge, and keep her new token."""
    if challenged.outcome != STEP_UP:
        raise Astray("there is no challenge to follow")
    cast.timeline.say(
        "Alice", "waits: auth_time has whole seconds, and a proof must lie in a later one"
    )
    await later_second()
    signed = await cast.alice.sign_in(challenged.challenge)
    plot.keep("alice", signed)
    cast.timeline.step(
        "Alice",
        f"signs in again as the challenge asks (amr={','.join(signed.amr)})",
        f"acr={signed.acr}",
        expected=expected,
    )


async def _notified(cast: Cast, plot: Plot, who: str, standing: str) -> None:
    change = await cast.watcher.until(plot.token(who).session, standing)
    cast.timeline.step(
        "Watcher",
        f"is notified: how {who.title()}'s session stands now",
        "nothing came" if change is None else change.standing,
        expected=standing,
    )


def _print_challenge(cast: Cast, called: Called) -> None:
    error, acr_values, max_age = called.challenge
    header = "WWW-Authenticate: "
    asked = f'acr_values="{acr_values}"'
    if max_age is not None:
        asked += f', max_age="{max_age}"'
    cast.timeline.note(f'{header}Bearer error="{error}",', " " * len(header) + asked)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
