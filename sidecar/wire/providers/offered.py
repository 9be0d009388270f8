"""Offers in a provider's metadata (OpenID Connect Discovery 1.0, section 3)."""

from collections.abc import Mapping


def acr_values_offered(metadata: Mapping[str, object]) -> frozenset[str] | None:
    """Read `acr_values_supported`; None where the provider does not say, which it need not."""
    values = metadata.get("acr_values_supported")
    return frozenset(texts_in(values)) if isinstance(values, list) else None


def texts_in(value: object) -> tuple[str, ...]:
    """Return the texts of a list, each once and in order; what is no list has none.

    A number counts as its text, since some write `acr` so; what cannot be printed is left out.
    """
    if not isinstance(value, list):
        return ()
    texts = (str(one) for one in value if isinstance(one, str | int) and not isinstance(one, bool))
    return tuple(dict.fromkeys(one for one in texts if one.isprintable()))
