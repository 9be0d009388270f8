"""The table of powers: what becomes of each word, by who says it.

Drawn from `authority.WORDS` and the ruling, so that the documents' table, which is written from
here, and the test that plays its cells at the daemon's doors hold to one description.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from sidecar.domain.sources.authority import WORDS, Power, Without, Word, has_power
from sidecar.domain.sources.source import LOCAL_PREFIX, OPERATOR_PREFIX, Source


class Speaker(StrEnum):
    """A kind of sender, as a door knows it."""

    LOCAL = "local peer"
    UID = "uid of a source"
    CREDENTIAL = "credential of a source"
    TRANSMITTER = "transmitter"
    TOKEN = "issuer's token"  # noqa: S105 - a kind of speaker
    OPERATOR = "operator"


class Effect(StrEnum):
    """The treatment of a word."""

    TAKEN = "taken"
    JOINED = "joined"
    LEFT_OUT = "left out"
    REFUSED = "refused"
    UNSAID = "cannot be said"


class Cell(NamedTuple):
    """The treatment of a word by this speaker, with or without the power, and the reason."""

    word: Word
    speaker: Speaker
    empowered: bool
    effect: Effect
    why: str


CONFIGURED = (Speaker.UID, Speaker.CREDENTIAL, Speaker.TRANSMITTER)
"""Those whose powers their entry in `sources` gives."""

_OF_TOKENS = frozenset(
    {
        *("established", "established-sign-in", "established-device", "established-exp"),
        *("presented", "presented-device", "claims", "identity"),
    }
)
"""What a verified token or a call with one shows."""


def cells() -> Iterator[Cell]:
    """Return each word of each speaker, and of those who are configured with and without power."""
    for word in WORDS:
        for speaker in Speaker:
            yield cell(word, speaker, empowered=False)
            if speaker in CONFIGURED and word.needs not in {Power.NONE, Power.OPERATE}:
                yield cell(word, speaker, empowered=True)


def cell(word: Word, speaker: Speaker, *, empowered: bool) -> Cell:
    """Return what becomes of a word."""
    effect, why = _effect(word, speaker, empowered=empowered)
    return Cell(word, speaker, empowered, effect, why)


def source_of(word: Word, speaker: Speaker, *, empowered: bool) -> Source:
    """Return the source that such a speaker is, with the power that the word needs or with none."""
    match speaker:
        case Speaker.LOCAL:
            return Source(name=LOCAL_PREFIX + "app")
        case Speaker.OPERATOR:
            return Source(name=OPERATOR_PREFIX + "ada")
        case Speaker.TOKEN:
            return Source(name="")
        case _:
            return Source(
                name="agent",
                may_loosen=frozenset({word.type} if empowered else ()),
                may_prove=empowered,
                may_identify=empowered,
            )


def _effect(word: Word, speaker: Speaker, *, empowered: bool) -> tuple[Effect, str]:
    if speaker is Speaker.TOKEN:
        if word.name in _OF_TOKENS:
            return Effect.TAKEN, "a verified token, or the call that shows it, says so"
        return Effect.UNSAID, "no token says so"
    if word.needs is Power.OPERATE and speaker is not Speaker.OPERATOR:
        return Effect.UNSAID, "only the admin listener takes it"
    if word.needs is Power.NONE:
        why = "it takes back its own word" if word.loosens else "it loosens nothing"
        return Effect.TAKEN, why
    if has_power(source_of(word, speaker, empowered=empowered), word):
        return Effect.TAKEN, "an operator may" if speaker is Speaker.OPERATOR else _given(word)
    if speaker is Speaker.TRANSMITTER and word.name == "established-sign-in":
        return Effect.LEFT_OUT, "the rest of the event is taken"
    if word.without is Without.JOINED:
        return Effect.JOINED, "between sources the strictest counts"
    return Effect.REFUSED, f"it takes {_given(word)}"


def _given(word: Word) -> str:
    return f"may_loosen: [{word.type}]" if word.needs is Power.LOOSEN else f"{word.needs}: true"


COLUMNS = (
    *("event", "says", "would loosen", "local peer"),
    *("source without the power", "source with it", "operator"),
)


def table() -> str:
    """Return the documents' table, in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    for word in WORDS:
        local, without, mighty, operator = (
            cell(word, Speaker.LOCAL, empowered=False),
            cell(word, Speaker.CREDENTIAL, empowered=False),
            cell(word, Speaker.CREDENTIAL, empowered=True),
            cell(word, Speaker.OPERATOR, empowered=False),
        )
        given = word.needs not in {Power.NONE, Power.OPERATE}
        needs = f" by `{_given(word)}`" if given else ""
        transmitter = cell(word, Speaker.TRANSMITTER, empowered=False)
        other = f" (of a transmitter {transmitter.effect})"
        columns = (
            f"`{word.type}`",
            word.says,
            word.loosens or "nothing",
            local.effect,
            without.effect + (other if transmitter.effect is not without.effect else ""),
            mighty.effect + needs,
            operator.effect,
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"
