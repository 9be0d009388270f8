"""Reads the instructions of our Dockerfile."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined, comments left out."""
    lines = (
        line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    joined = "\n".join(lines).replace("\\\n", " ")
    parted = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word.upper(), " ".join(rest.split())) for word, _, rest in parted]


def final_stage() -> list[tuple[str, str]]:
    all_of_them = instructions()
    begins = max(index for index, (word, _) in enumerate(all_of_them) if word == "FROM")
    return all_of_them[begins:]


def the(word: str) -> str:
    (arguments,) = (rest for each, rest in final_stage() if each == word)
    return arguments
