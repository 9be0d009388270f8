import errno
import os
import socket
import ssl

import pytest

from sidecar.domain.values.causes import first_causes, words_of
from sidecar.service.ports.calls import Unavailable


def chained(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NAMED_BY_US = "the store at redis://db:6379: gone"
PLAIN = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
PLAIN.reason = "WRONG_VERSION_NUMBER"
PRIVATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
PRIVATE.verify_message = "unable to get local issuer certificate"


class TooDeepError(Exception):
    """One whose text is empty."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "timeout error"),
        (TooDeepError(), "too deep error"),
        (OSError(), "oserror"),
        (ValueError("no\n number"), "ValueError: no number"),
        (REFUSED, "Connection refused"),
        (UNKNOWN, "the host name is not known: Name or service not known"),
        (PLAIN, "no TLS could be agreed on: wrong version number"),
        (PRIVATE, "its certificate is not trusted: unable to get local issuer certificate"),
        (chained(OSError("all attempts failed"), REFUSED), "Connection refused"),
        (
            chained(TooDeepError(), ExceptionGroup("both", [REFUSED, UNKNOWN, REFUSED])),
            "Connection refused; the host name is not known: Name or service not known",
        ),
        (ExceptionGroup("", [ExceptionGroup("", [TimeoutError()])]), "timeout error"),
        (chained(Unavailable("the store at redis://db:6379: gone"), REFUSED), NAMED_BY_US),
        (chained(Unavailable(), REFUSED), "Connection refused"),
    ],
)
def test_words_are_those_of_the_first_causes_and_never_empty(error: Exception, words: str) -> None:
    assert words_of(error) == words


def test_an_error_that_causes_itself_is_its_own_cause() -> None:
    error = ValueError("odd")
    error.__cause__ = chained(KeyError("k"), error)
    assert first_causes(error) == (error.__cause__,)


def test_what_was_handled_meanwhile_counts_only_where_an_error_says_nothing() -> None:
    said, silent = ValueError("said"), TimeoutError()
    said.__context__ = silent.__context__ = REFUSED
    assert (words_of(said), words_of(silent)) == ("ValueError: said", "Connection refused")
