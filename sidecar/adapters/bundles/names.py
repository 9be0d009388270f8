"""The names under which bundles and their signatures lie in a directory or below an address."""

SIGNATURE = ".minisig"


def file_of(sequence: int) -> str:
    """Return the name of the file of a bundle; that of its signature has `.minisig` behind it."""
    return f"policies-{sequence}.tar"
