"""Namespaces: whose names users, sessions, devices and groups are (contract, "Words").

Each issuer's names are its own, under the issuer's identifier, unless the configuration has several
issuers share a namespace.
"""

from collections.abc import Mapping


class Namespaces:
    """The namespaces of the configured issuers. Where none is configured there is one, unnamed.

    `all` has each once, in the order of the issuers.
    """

    __slots__ = ("_of", "_sole", "all")

    def __init__(self, of_issuers: Mapping[str, str] | None = None) -> None:
        self._of = dict(of_issuers or {})
        self.all: tuple[str, ...] = tuple(dict.fromkeys(self._of.values())) or ("",)
        self._sole = self.all[0] if len(self.all) == 1 else None

    @property
    def words(self) -> tuple[str, ...]:
        """Return the names that `named` knows: issuers, and namespaces with names of their own."""
        return tuple(dict.fromkeys((*self._of, *self._of.values())))

    def named(self, text: str) -> str | None:
        """Return the namespace that is called so, or that the issuer of this name has.

        None: neither.
        """
        if text in self._of:
            return self._of[text]
        return text if text in self.all else None

    def sole(self) -> str | None:
        """Return the namespace where there is but one."""
        return self._sole


NO_NAMESPACES = Namespaces()
"""Where no issuer is configured."""
