"""Says what an error comes from, in words that are never empty.

Libraries wrap the error that says something in errors that do not: in groups, in causes, in types
whose text is empty (`TimeoutError()`). Each border that turns an error into a sentence asks here.
"""

import re
from collections.abc import Iterator

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_OURS = __name__.partition(".")[0]


def first_causes(error: BaseException) -> tuple[BaseException, ...]:
    """Return the errors that an error comes from: groups are taken apart, causes are followed."""
    return tuple(_first_causes(error, frozenset()))


def ungrouped(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group and in the groups in it; or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from ungrouped(one)
    else:
        yield error


def _first_causes(error: BaseException, above: frozenset[int]) -> Iterator[BaseException]:
    if _is_named_already(error):
        yield error
        return
    above |= {id(error)}
    inner: tuple[BaseException, ...] = ()
    if isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
    elif error.__cause__ is not None:
        inner = (error.__cause__,)
    elif error.__context__ is not None and not error.__suppress_context__ and not str(error):
        inner = (error.__context__,)
    followed = [one for one in inner if id(one) not in above]
    if not followed:
        yield error
    for one in followed:
        yield from _first_causes(one, above)


def _is_named_already(error: BaseException) -> bool:
    """Return whether an error is one of ours that says itself what it comes from."""
    return type(error).__module__.partition(".")[0] == _OURS and bool(str(error))


def words_of(error: BaseException) -> str:
    """Return what went wrong: what the first causes say, each once."""
    return "; ".join(dict.fromkeys(map(_words, first_causes(error))))


def _words(error: BaseException) -> str:
    """Return what one error says; where it says nothing, what its type is called."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return _of_system(error, text)
    if _is_named_already(error):
        return text
    return f"{type(error).__name__}: {text}" if text else kind_of(error)


def kind_of(error: BaseException) -> str:
    """Return what the type of an error is called, as words."""
    return _CAPITAL.sub(" ", type(error).__name__).lower()


def _of_system(error: OSError, text: str) -> str:
    """Return what the operating system, the resolver or TLS says."""
    unverified = getattr(error, "verify_message", None)  # of ssl.SSLCertVerificationError
    if isinstance(unverified, str) and unverified:
        return f"its certificate is not trusted: {unverified}"
    reason = getattr(error, "reason", None)  # of ssl.SSLError
    if isinstance(reason, str) and reason:
        return f"no TLS could be agreed on: {reason.replace('_', ' ').lower()}"
    if type(error).__name__ == "gaierror":
        return f"the host name is not known: {error.strerror or text}"
    return error.strerror or text or kind_of(error)
