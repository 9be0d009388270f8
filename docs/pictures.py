# ruff: noqa: INP001 - a script, no package
"""Draws the pictures of the page of concepts, as SVG files in `docs/drawings`.

`python docs/pictures.py` writes all; a test sees to it that those in the repository are current. A
picture is boxes at places and arrows between them: what changes is a word or a place here.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parent / "drawings"

INK, PAPER, LINE = "#1b1f3b", "#ffffff", "#5c6bc0"
FILLS = {
    "plain": "#eef0fb",
    "ours": "#c5cae9",
    "good": "#d7efd9",
    "wait": "#ffe8b3",
    "bad": "#f9d2d2",
}
HIGH = 20
"""Points from a line of text to the next."""


class Box(NamedTuple):
    """A box with lines of text: its centre, its size and what it is (`FILLS`)."""

    x: int
    y: int
    text: str
    kind: str = "plain"
    wide: int = 150

    @property
    def high(self) -> int:
        """Return the height that its lines need."""
        return HIGH * len(self.text.split("|")) + 20


class Arrow(NamedTuple):
    """An arrow from box to box, by their names, with words; `bent` leads it aside by so much."""

    begin: str
    end: str
    text: str = ""
    bent: int = 0
    dashed: bool = False


class Message(NamedTuple):
    """A message between two columns of a sequence, from the first to the second."""

    begin: int
    end: int
    text: str
    dashed: bool = False


def picture(
    title: str, size: tuple[int, int], boxes: Mapping[str, Box], arrows: Iterable[Arrow]
) -> str:
    """Return a picture of boxes and the arrows between them."""
    parts = [_arrow(arrow, boxes[arrow.begin], boxes[arrow.end]) for arrow in arrows]
    parts += [_box(box) for box in boxes.values()]
    return _svg(title, size, parts)


def sequence(title: str, columns: Sequence[str], messages: Sequence[Message]) -> str:
    """Return a sequence of messages between columns, the first on top."""
    apart, top, step = 190, 40, 44
    places = [95 + apart * number for number in range(len(columns))]
    end = top + step * (len(messages) + 1)
    parts = [
        f'<line x1="{x}" y1="{top}" x2="{x}" y2="{end}" stroke="#b0b4d0" stroke-dasharray="4 4"/>'
        for x in places
    ]
    parts += [
        _box(Box(x, top, name, "ours" if "sidecar" in name else "plain"))
        for x, name in zip(places, columns, strict=True)
    ]
    for number, message in enumerate(messages, 1):
        y, first, last = top + step * number + 14, places[message.begin], places[message.end]
        parts.append(_line(first, y, last, y, dashed=message.dashed))
        parts.append(_text((first + last) // 2, y - 7, message.text, size=12))
    return _svg(title, (places[-1] + 95, end + 20), parts)


def _svg(title: str, size: tuple[int, int], parts: Iterable[str]) -> str:
    wide, high = size
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" '
        f'font-family="sans-serif" font-size="14"><title>{escape(title)}</title>'
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse">'
        f'<path d="M0 0L10 5L0 10z" fill="{LINE}"/></marker></defs>'
    )
    paper = f'<rect width="{wide}" height="{high}" rx="8" fill="{PAPER}"/>'
    return "\n".join((head, tip, paper, *parts, "</svg>", ""))


def _box(box: Box) -> str:
    lines = box.text.split("|")
    left, top = box.x - box.wide // 2, box.y - box.high // 2
    first = box.y - HIGH * (len(lines) - 1) // 2 + 5
    frame = (
        f'<rect x="{left}" y="{top}" width="{box.wide}" height="{box.high}" rx="6" '
        f'fill="{FILLS[box.kind]}" stroke="{LINE}"/>'
    )
    parts = [frame]
    parts += [_text(box.x, first + HIGH * number, line) for number, line in enumerate(lines)]
    return "".join(parts)


def _text(x: int, y: int, words: str, *, size: int = 14) -> str:
    """Return centred words, with a rim of paper by which they can be read on a line."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="middle" fill="{INK}" '
        f'paint-order="stroke" stroke="{PAPER}" stroke-width="{4 if size < 14 else 0}">'
        f"{escape(words)}</text>"
    )


def _arrow(arrow: Arrow, begin: Box, end: Box) -> str:
    (x1, y1), (x2, y2) = _edge(begin, end), _edge(end, begin)
    middle_x, middle_y = (x1 + x2) // 2, (y1 + y2) // 2
    if arrow.bent:
        middle_y += arrow.bent
        dashes = ' stroke-dasharray="6 4"' if arrow.dashed else ""
        drawn = (
            f'<path d="M{x1} {y1}Q{middle_x} {middle_y + arrow.bent} {x2} {y2}" fill="none" '
            f'stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"{dashes}/>'
        )
    else:
        drawn = _line(x1, y1, x2, y2, dashed=arrow.dashed)
    lines = arrow.text.split("|") if arrow.text else ()
    upright = abs(x2 - x1) < abs(y2 - y1)
    aside = 8 + 3 * max((len(line) for line in lines), default=0) if upright else 0
    above = 0 if upright else 18 if arrow.bent > 0 else -8 - 15 * (len(lines) - 1)
    words = (
        _text(middle_x + aside, middle_y + above + 15 * number, line, size=12)
        for number, line in enumerate(lines)
    )
    return drawn + "".join(words)


def _edge(box: Box, other: Box) -> tuple[int, int]:
    """Return the point of a box at which an arrow to or from the other begins or ends."""
    across, down = other.x - box.x, other.y - box.y
    if abs(across) * box.high >= abs(down) * box.wide:
        return box.x + (box.wide // 2 if across > 0 else -box.wide // 2), box.y
    return box.x, box.y + (box.high // 2 if down > 0 else -box.high // 2)


def _line(x1: int, y1: int, x2: int, y2: int, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{LINE}" stroke-width="1.5" '
        f'marker-end="url(#tip)"{dashes}/>'
    )


def where() -> str:
    """Draw where the sidecar stands."""
    boxes = {
        "client": Box(95, 90, "client|browser, app", wide=120),
        "gateway": Box(330, 90, "gateway|nginx, Envoy, ..."),
        "app": Box(610, 90, "your app"),
        "sidecar": Box(610, 230, "sidecar", "ours"),
        "signals": Box(330, 230, "who knows something|MDM, provider, app", wide=180),
        "others": Box(330, 350, "sidecars of other pods", "ours", 180),
        "store": Box(610, 350, "store|Redis or Valkey"),
    }
    arrows = (
        Arrow("client", "gateway", "call"),
        Arrow("gateway", "app", "only what may pass"),
        Arrow("gateway", "sidecar", "may this call pass?"),
        Arrow("app", "sidecar", "or the app asks"),
        Arrow("signals", "sidecar", "events"),
        Arrow("sidecar", "store", "facts, news"),
        Arrow("others", "store"),
    )
    return picture("Where the sidecar stands", (720, 400), boxes, arrows)


def call() -> str:
    """Draw how a call is decided."""
    boxes = {
        "token": Box(100, 60, "1. Is the token|believed?"),
        "session": Box(300, 60, "2. Which session|is it?"),
        "context": Box(500, 60, "3. How sensitive|is the call?"),
        "standing": Box(700, 60, "4. How does the|session stand?", "ours"),
        "invalid": Box(100, 220, "401|invalid_token", "bad"),
        "allow": Box(340, 220, "200 allow", "good"),
        "step_up": Box(520, 220, "401 step_up|challenge", "wait"),
        "deny": Box(700, 220, "403 deny", "bad"),
        "unknown": Box(880, 220, "503|cannot decide", "plain", 120),
    }
    arrows = (
        Arrow("token", "session", "yes"),
        Arrow("session", "context"),
        Arrow("context", "standing"),
        Arrow("token", "invalid", "no"),
        Arrow("standing", "allow"),
        Arrow("standing", "step_up"),
        Arrow("standing", "deny"),
        Arrow("standing", "unknown"),
    )
    return picture("How a call is decided", (960, 270), boxes, arrows)


def facts() -> str:
    """Draw how signals become a standing."""
    boxes = {
        "idp": Box(100, 50, "provider says:|risk is high", wide=160),
        "mdm": Box(100, 130, "MDM says:|not compliant", wide=160),
        "call": Box(100, 210, "a call shows:|new address", wide=160),
        "user": Box(330, 50, "facts of the user", wide=160),
        "device": Box(330, 130, "facts of the device", wide=160),
        "session": Box(330, 210, "facts of the session", wide=160),
        "state": Box(540, 130, "state|of the session", "ours", 140),
        "policies": Box(740, 50, "policies"),
        "standing": Box(740, 130, "standing|clear, marked|or revoked", "ours"),
        "verdict": Box(740, 240, "verdict of a call", "good"),
    }
    arrows = (
        Arrow("idp", "user"),
        Arrow("mdm", "device"),
        Arrow("call", "session"),
        Arrow("user", "state", ""),
        Arrow("device", "state", ""),
        Arrow("session", "state", ""),
        Arrow("state", "standing"),
        Arrow("policies", "standing"),
        Arrow("standing", "verdict", "and the token"),
    )
    return picture("From signals to a verdict", (880, 280), boxes, arrows)


def mark() -> str:
    """Draw the life of a mark."""
    boxes = {
        "clear": Box(110, 110, "no mark|calls pass", "good"),
        "marked": Box(430, 110, "marked|sensitive calls:|401 step_up", "wait"),
        "met": Box(750, 110, "proven|calls with the|new token pass", "good"),
        "routine": Box(430, 250, "routine calls pass,|with: step-up pending", "plain", 190),
    }
    arrows = (
        Arrow("clear", "marked", "a cause comes up", bent=-40),
        Arrow(
            "marked",
            "clear",
            "it goes away by itself,|or an operator clears it",
            bent=40,
            dashed=True,
        ),
        Arrow("marked", "met", "a sufficient sign-in,|in a later second"),
        Arrow("marked", "routine", dashed=True),
    )
    return picture("The life of a mark", (850, 295), boxes, arrows)


def step_up() -> str:
    """Draw the messages of a step-up."""
    client, gateway, sidecar, provider = range(4)
    messages = (
        Message(client, gateway, "POST /payments/7, token A"),
        Message(gateway, sidecar, "may it pass?"),
        Message(sidecar, gateway, "401, acr_values, max_age", dashed=True),
        Message(gateway, client, "401 WWW-Authenticate", dashed=True),
        Message(client, provider, "sign in again, with acr_values and max_age"),
        Message(provider, client, "token B: stronger, newer auth_time", dashed=True),
        Message(client, gateway, "POST /payments/7, token B"),
        Message(gateway, sidecar, "may it pass?"),
        Message(sidecar, gateway, "200 allow", dashed=True),
        Message(gateway, client, "the app's answer", dashed=True),
    )
    return sequence("A step-up", ("client", "gateway", "sidecar", "OpenID provider"), messages)


PICTURES = {"where": where, "call": call, "facts": facts, "mark": mark, "step-up": step_up}


def main() -> int:
    """Write the pictures."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (DIRECTORY / f"{name}.svg").write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
