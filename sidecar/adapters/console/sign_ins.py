"""Sign-ins of operators: what their cookie stands for, kept in this process alone.

A cookie is a random text, of which just a digest is kept. A sign-in ends after its lifetime, when
it is not used for a while, when its operator signs out, with this process, and with what it was
begun with, a credential or a role by an OpenID provider: that is looked at with each request.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from sidecar.adapters.admin.credential import Credential
from sidecar.wire.settings.admin import ConsoleSettings, Role

MOST = 256
"""Sign-ins at a time; the one that was used longest ago ends for another."""


RoleNow: TypeAlias = Callable[[], Role | None]
"""Returns the role that somebody now has; None: none any more."""


class SignIn:
    """An operator who has signed in; `token` is what each of their forms must show.

    `notice` is what the next page says once, of what was done by a form.
    """

    def __init__(self, key: bytes, operator: str, role_now: RoleNow, now: float) -> None:
        self.key = key
        self.operator = operator
        self.role_now = role_now
        self.role = Role.VIEWER
        self.token = secrets.token_urlsafe(32)
        self.begun = self.used = now
        self.notice = ""

    def is_shown(self, token: str) -> bool:
        """Return whether a form shows the token of this sign-in."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def take_notice(self) -> str:
        """Return what is to be said, once."""
        notice, self.notice = self.notice, ""
        return notice


class SignIns:
    """All sign-ins of this process."""

    def __init__(
        self,
        credentials: Callable[[], tuple[Credential, ...]],
        settings: Callable[[], ConsoleSettings],
        clock: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[bytes, SignIn] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, credential: Credential) -> str:
        """Sign in the holder of a credential; return the text of their cookie."""
        operator, shown = credential.operator, _digest(credential.text)
        return self.begin_as(operator, lambda: self._role_of(operator, shown))

    def begin_as(self, operator: str, role_now: RoleNow) -> str:
        """Sign in somebody for as long as they have a role; return the text of their cookie."""
        text = secrets.token_urlsafe(32)
        key = _digest(text)
        self._known[key] = SignIn(key, operator, role_now, self._clock())
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return text

    def of(self, cookie: str) -> SignIn | None:
        """Return whose cookie this is, with their role as it now is; None: nobody's."""
        sign_in = self._known.get(_digest(cookie)) if cookie else None
        if sign_in is None:
            return None
        if not self.is_valid(sign_in):
            self.end(sign_in)
            return None
        sign_in.used = self._clock()
        self._known.move_to_end(sign_in.key)
        return sign_in

    def is_valid(self, sign_in: SignIn) -> bool:
        """Return whether a sign-in has not ended; its role is then the one that it now has."""
        settings, now = self._settings(), self._clock()
        if sign_in.key not in self._known:
            return False
        if now >= min(sign_in.begun + settings.lifetime, sign_in.used + settings.idle):
            return False
        role = sign_in.role_now()
        if role is None:
            return False
        sign_in.role = role
        return True

    def _role_of(self, operator: str, shown: bytes) -> Role | None:
        """Return the role of a credential, of which this is the digest."""
        for one in self._credentials():
            own = one.operator == operator and one.text
            if own and hmac.compare_digest(_digest(one.text), shown):
                return one.role
        return None

    def end(self, sign_in: SignIn) -> None:
        """Sign out."""
        self._known.pop(sign_in.key, None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
