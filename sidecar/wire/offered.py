"""What a provider's metadata say that it offers (OpenID Connect Discovery 1.0, section 3)."""

from collections.abc import Mapping


def acr_values_offered(metadata: Mapping[str, object]) -> frozenset[str] | None:
    """Read `acr_values_supported`; None where the provider does not tell, which it need not."""
    values = metadata.get("acr_values_supported")
    if not isinstance(values, list):
        return None
    return frozenset(str(one) for one in values if isinstance(one, str | int) and one is not True)
