"""Lets pages of other origins read refusals (CORS; Fetch, section 3.3).

A browser hides an answer from such a page unless its headers name the page's origin, and even then
shows only the headers that are named besides. The app would add them, but it never sees a call that
is refused before it.
"""

from typing import NamedTuple

from sidecar.wire.http.messages import Fields, Request, Response
from sidecar.wire.settings.settings import Cors

ANY = "*"
EXPOSED = "WWW-Authenticate, Retry-After"


class CrossOrigin(NamedTuple):
    """The origins whose pages may read refusals, as configured."""

    settings: Cors

    def readable(self, request: Request, refusal: Response) -> Response:
        """Add to a refusal what lets the page that called read it, if its origin may."""
        fields = self.fields(request)
        return (
            Response(refusal.status, refusal.fields + fields, refusal.body) if fields else refusal
        )

    def fields(self, request: Request) -> Fields:
        """Return the fields of refusals that let the page that called read them."""
        allowed = self.settings.origins
        if not allowed:
            return ()
        fields = [] if ANY in allowed else [("Vary", "Origin")]
        origins = request.values(b"origin")
        if len(origins) == 1 and (allow := self._allowed(origins[0].decode("latin-1"))):
            fields.append(("Access-Control-Allow-Origin", allow))
            if self.settings.credentials:
                fields.append(("Access-Control-Allow-Credentials", "true"))
            fields.append(("Access-Control-Expose-Headers", EXPOSED))
        return tuple(fields)

    def _allowed(self, origin: str) -> str:
        """Return the origin as the response allows it, empty for one that is not allowed."""
        if ANY in self.settings.origins:
            return ANY if origin else ""
        return origin if origin in self.settings.origins else ""
