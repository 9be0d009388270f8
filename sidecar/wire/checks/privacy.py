"""Checks of the settings of personal data, and of the keys that their file holds."""

import msgspec

from sidecar.domain.values.causes import words_of
from sidecar.wire.config.secret_files import ReadFile
from sidecar.wire.privacy.privacy_keys import read_privacy_keys
from sidecar.wire.settings.privacy import Identifiers, Privacy
from sidecar.wire.yaml.scalars import Misspelt
from sidecar.wire.yaml.tree import Problems, Table, place_of


def with_privacy_keys(
    root: Table, privacy: Privacy, read_file: ReadFile, problems: Problems
) -> Privacy:
    """Return the section with the keys of its file. Adds to `problems` what is wrong with it."""
    if privacy.keys and privacy.key_file:
        problems.add(
            place_of(root, "privacy.key_file"), "privacy.key_file", "is given, and so is keys"
        )
        return privacy
    try:
        keys = _keys(privacy, read_file)
    except Misspelt as error:
        field = "key_file" if privacy.key_file else "keys"
        problems.add(place_of(root, f"privacy.{field}"), f"privacy.{field}", str(error))
        return privacy
    if privacy.identifiers is Identifiers.KEYED and not keys:
        message = "is required where identifiers are keyed: a file of keys, one a line"
        problems.add(place_of(root, "privacy.identifiers"), "privacy.key_file", message)
    if privacy.identifiers is Identifiers.PLAIN and privacy.read_plain:
        message = "is for identifiers: keyed; plain ones are read in any case"
        problems.add(place_of(root, "privacy.read_plain"), "privacy.read_plain", message)
    return msgspec.structs.replace(privacy, keys=keys)


def _keys(privacy: Privacy, read_file: ReadFile) -> tuple[str, ...]:
    """Return the keys as text. Raises Misspelt."""
    text, file = "\n".join(privacy.keys), "keys"
    if privacy.key_file:
        file = privacy.key_file
        try:
            text = read_file(file)
        except OSError as error:
            raise Misspelt(f"{file} cannot be read: {words_of(error)}") from None
        except ValueError:
            raise Misspelt(f"{file} cannot be read: it is not UTF-8 text") from None
    elif not privacy.keys:
        return ()
    return tuple(key.secret.decode() for key in read_privacy_keys(text, file))
