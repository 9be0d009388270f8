"""The tokens that were found good: bounded, and no text finds what it was not verified for."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.tokens.cache import MAX_TEXTS, CachedToken, TokenCache
from sidecar.adapters.tokens.keys import KeySource
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.tokens.claims import Validity
from tests.service.memory import Tokens as Issued

ISSUED = Issued()
ISSUED.issue("t")
SOURCE = KeySource(
    Issuer(issuer="https://id.example", audiences=("x",), jwks_file="none"), Tokens()
)


def found(key: str) -> CachedToken:
    return CachedToken(ISSUED.known["t"], Validity(0.0, 1.0), SOURCE, key)


steps = st.tuples(
    st.sampled_from(["keep", "use", "drop", "shrink"]),
    st.integers(0, 4),
    st.integers(0, 5),
    st.sampled_from(["k1", "k2"]),
)


@given(st.lists(steps, max_size=80), st.integers(1, 4))
def test_a_text_finds_its_own_token_alone_and_what_is_kept_is_bounded(
    what: list[tuple[str, int, int, str]], limit: int
) -> None:
    cache = TokenCache(limit)
    verified: dict[bytes, bytes] = {}
    for step, number, more, key in what:
        name, text = bytes([number]), bytes([number, more])
        kept = cache.find(text)
        if step == "keep":
            cache.keep(name, text, found(key))
            verified[text] = name
            now = cache.find(text)
            assert now is not None
            assert now.key == key
        elif step == "shrink":
            limit = min(limit, 1 + more)
            cache.shrink(limit)
        elif kept is not None:
            act = cache.use if step == "use" else cache.drop
            act(kept)
        finds = {text: one for text in verified if (one := cache.find(text)) is not None}
        assert all(one.name == verified[text] for text, one in finds.items())
        entries = {one.name: one for one in finds.values()}
        assert len(entries) == len(cache) <= limit
        assert sorted(finds) == sorted(text for one in entries.values() for text in one.texts)
        assert all(len(one.texts) <= MAX_TEXTS for one in entries.values())
