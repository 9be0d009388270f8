"""Fields of a query or a form, as `application/x-www-form-urlencoded` has them (WHATWG URL, 5).

What is not UTF-8 is refused and not replaced: two different names must not become one.
"""

from urllib.parse import parse_qsl


class UnreadableFields(ValueError):  # noqa: N818 - named by who must act
    """The asker must mend the fields: which one (empty: all of them), and what is wrong with it."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}" if name else words)
        self.name = name
        self.words = words


def fields_of(raw: bytes, most: int, *, blank: bool) -> list[tuple[str, str]]:
    """Return at most so many fields in their order; without a value only where `blank`.

    Raises `UnreadableFields`.
    """
    if raw.count(b"&") >= most:
        raise UnreadableFields("", f"has too many fields; {most} is the most")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=blank, errors="strict")
    except ValueError:
        raise UnreadableFields(
            "", "cannot be read: it is not ASCII, or no UTF-8 behind %"
        ) from None


def single_fields(raw: bytes, most: int, *, blank: bool) -> dict[str, str]:
    """Return fields of which none comes twice. Raises `UnreadableFields`."""
    found: dict[str, str] = {}
    for name, value in fields_of(raw, most, blank=blank):
        if name in found:
            raise UnreadableFields(name, "is given twice")
        found[name] = value
    return found
