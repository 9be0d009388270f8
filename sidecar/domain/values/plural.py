"""Counts in words: a number with its noun in the form that goes with it."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 session`, `2 sessions`, `1,000 policies`."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return an English noun's plural, where it is a regular one."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def verb(count: int, one: str, more: str) -> str:
    """Return the form of a verb that goes with a count: `is` or `are`, `has` or `have`."""
    return one if count == 1 else more
