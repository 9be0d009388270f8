"""Sealed form of names and facts in the store, where identifiers are keyed.

The daemon goes on speaking of keys, fields and values as `keys` and `records` have them; a
`SealedForm` is how they are written down. There is the plain form, and one for each privacy key:

    PREFIX:{uID.NAME}:s:NAME  a key: ID is the privacy key's, a NAME the digest, enciphered. It is
                              one block of AES, which permutes them: nobody without the key can
                              test a guess, and who has it gets the digest back, as a scan needs
    GROUP:SEALED              a field: its group stays, as the store bounds groups
    VERSION MOMENT SEALED     a fact: its moment stays, as the store keeps the greater value
    STAMP 0 SEALED            another value that begins with a stamp

SEALED is AES-SIV (RFC 5297): deterministic, as the store joins what is equal and compares what is
not, and bound to the record and field, so that equal addresses in two records do not look alike.
Payloads of queues begin with a byte that MessagePack does not use, and the key's id.

What cannot be opened stays as it is. Then no decoder reads it, which is set aside as the words of
another version are, and asks for a sign-in.
"""

import base64
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from sidecar.domain.values.lattice import Record
from sidecar.wire.facts.values import HEAD, VERSION
from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.settings.privacy import Identifiers, Privacy
from sidecar.wire.store.keys import StoreKeys

PLAIN = "plain"
"""The id of the plain form."""

_DIGEST = rb"[A-Za-z0-9_-]{22}"
_NAME = re.compile(_DIGEST)
_BLOCK = 16
"""Bytes of a digest, and of what the cipher takes."""
_STAMP = re.compile(rb"[0-9]{16}")
_MAGIC = b"\xc1"
_ID_BYTES = 8

_CLEAR_KEYS = frozenset({b"who", b"checkpoint", b"keep", b"whole", b"lost"})
"""Groups whose fields have fixed words for names."""

_CLEAR_VALUES = frozenset(
    {b"owner", b"app", b"keep", b"whole", b"lost", b"prompt", b"alert", b"fanned", b"told"}
    | {b"claim"}
)
"""Groups whose values are numbers, moments and ids of sidecars, and must compare as they are."""

_SEALED_VERSION = bytes((VERSION[0] | 0x40,))
"""Begins a fact's value that is sealed: what cannot be opened is of no version that is read."""

_EVENT = b"event"
_QUESTIONS = (b"settle:", b"whose:")
_QUESTION_HEAD = 16


class SealedForm(Protocol):
    """One way to write down keys, fields and values. What it opens, `sealed_*` gave."""

    id: str

    def seal_key(self, key: bytes) -> bytes:
        """Return how a key, or channel, is written."""

    def open_key(self, key: bytes) -> bytes | None:
        """Undo `seal_key`; None where it is written in another form."""

    def seal_member(self, member: bytes) -> bytes:
        """Return how a member of an index of sessions is written."""

    def open_member(self, member: bytes) -> bytes:
        """Undo `seal_member`."""

    def seal_field(self, key: bytes, field: bytes) -> bytes:
        """Return how a field of the record `key` is written."""

    def seal_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:
        """Return how the fields of the record `key` are written."""

    def open_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:
        """Undo `seal_record`."""

    def seal_payload(self, payload: bytes) -> bytes:
        """Return how an entry of a queue is written."""

    def seal_name(self, name: str) -> str:
        """Return how a digest that is part of another key is written."""


class PlainForm:
    """The form in which all is written as it is."""

    id = PLAIN

    def seal_key(self, key: bytes) -> bytes:
        """Return the key."""
        return key

    def open_key(self, key: bytes) -> bytes | None:
        """Return the key; None where it is written under a privacy key."""
        return None if _is_sealed(key) else key

    def seal_member(self, member: bytes) -> bytes:
        """Return the member."""
        return member

    def open_member(self, member: bytes) -> bytes:
        """Return the member."""
        return member

    def seal_field(self, key: bytes, field: bytes) -> bytes:  # noqa: ARG002 - as the others
        """Return the field."""
        return field

    def seal_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:  # noqa: ARG002
        """Return the record."""
        return dict(record)

    def open_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:  # noqa: ARG002
        """Return the record."""
        return dict(record)

    def seal_payload(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def seal_name(self, name: str) -> str:
        """Return the name."""
        return name


_SEALED = re.compile(rb".*?:\{[uds][a-z2-7]{8}\." + _DIGEST + rb"\}.*", re.DOTALL)


def _is_sealed(key: bytes) -> bool:
    return _SEALED.fullmatch(key) is not None


class KeyedForm:
    """The form of one privacy key, under one prefix."""

    def __init__(self, key: PrivacyKey, prefix: str) -> None:
        self.id = key.id
        start = re.escape(prefix.encode())
        ours = re.escape(key.id.encode())
        rest = rb"(?:(:s:)(" + _DIGEST + rb")|(:[fxlh])?)"
        self._clear = re.compile(start + rb":\{([uds])(" + _DIGEST + rb")\}" + rest)
        self._keyed = re.compile(start + rb":\{([uds])" + ours + rb"\.(" + _DIGEST + rb")\}" + rest)
        self._prefix = prefix.encode()
        self._siv = AESSIV(key.derive("sealed facts", 64))
        # One block at a time: this is a permutation of digests and no encryption of text.
        blocks = {
            kind: Cipher(algorithms.AES(key.derive(f"names {kind}", 32)), modes.ECB())  # noqa: S305
            for kind in "udst"
        }
        self._encipher = {kind: block.encryptor() for kind, block in blocks.items()}
        self._decipher = {kind: block.decryptor() for kind, block in blocks.items()}
        self.seal_key = functools.lru_cache(maxsize=65536)(self._seal_key)

    # Names

    def _seal_key(self, key: bytes) -> bytes:
        found = self._clear.fullmatch(key)
        if found is None:
            return key
        kind, name, session_mark, session, rest = found.groups()
        enciphered = self._enciphered(kind.decode(), name)
        tail = session_mark + self._enciphered("s", session) if session_mark else rest or b""
        return b"%s:{%s%s.%s}%s" % (self._prefix, kind, self.id.encode(), enciphered, tail)

    def open_key(self, key: bytes) -> bytes | None:
        """Undo `seal_key`; None where it is written in another form."""
        found = self._keyed.fullmatch(key)
        if found is None:
            is_other = self._clear.fullmatch(key) is not None or _is_sealed(key)
            return None if is_other else key
        kind, name, session_mark, session, rest = found.groups()
        deciphered = self._deciphered(kind.decode(), name)
        tail = session_mark + self._deciphered("s", session) if session_mark else rest or b""
        return b"%s:{%s%s}%s" % (self._prefix, kind, deciphered, tail)

    def seal_member(self, member: bytes) -> bytes:
        """Return how a member, `USER/SESSION` or a session's digest, is written.

        Anything else stays as it is.
        """
        if len(member) == _BLOCK:  # of an index whose key names the user
            return self._encipher["s"].update(member)
        user, slash, session = member.partition(b"/")
        if not slash:
            return member
        return self._enciphered("u", user) + slash + self._enciphered("s", session)

    def open_member(self, member: bytes) -> bytes:
        """Undo `seal_member`."""
        if len(member) == _BLOCK:  # of an index whose key names the user
            return self._decipher["s"].update(member)
        user, slash, session = member.partition(b"/")
        if not slash:
            return member
        return self._deciphered("u", user) + slash + self._deciphered("s", session)

    def seal_name(self, name: str) -> str:
        """Return how a digest that is part of another key is written."""
        return f"{self.id}.{self._enciphered('t', name.encode()).decode()}"

    def _enciphered(self, kind: str, name: bytes) -> bytes:
        if _NAME.fullmatch(name) is None:
            return name  # no digest: what is no block of the cipher's must not get into it
        block = base64.urlsafe_b64decode(name + b"==")
        return base64.urlsafe_b64encode(self._encipher[kind].update(block))[:22]

    def _deciphered(self, kind: str, name: bytes) -> bytes:
        if _NAME.fullmatch(name) is None:
            return name
        block = base64.urlsafe_b64decode(name + b"==")
        return base64.urlsafe_b64encode(self._decipher[kind].update(block))[:22]

    # Records

    def seal_field(self, key: bytes, field: bytes) -> bytes:
        """Return how a field of the record `key` is written."""
        if self._clear.fullmatch(key) is None:
            return field
        group, colon, name = field.partition(b":")
        if not name or _kind(group) in _CLEAR_KEYS:
            return field
        return group + colon + self._siv.encrypt(name, [b"field", key, group])

    def seal_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:
        """Return how the fields of the record `key` are written."""
        if self._clear.fullmatch(key) is None:
            return {field: self._seal_other(field, value) for field, value in record.items()}
        return {
            self.seal_field(key, field): self._seal_value(key, field, value)
            for field, value in record.items()
        }

    def open_record(self, key: bytes, record: Mapping[bytes, bytes]) -> Record:
        """Undo `seal_record`. What cannot be opened stays as it is."""
        if self._clear.fullmatch(key) is None:
            return {field: self._open_other(field, value) for field, value in record.items()}
        opened: Record = {}
        for written, value in record.items():
            field = self._open_field(key, written)
            opened[field] = self._open_value(key, field, value)
        return opened

    def _open_field(self, key: bytes, written: bytes) -> bytes:
        group, colon, name = written.partition(b":")
        if not name or _kind(group) in _CLEAR_KEYS:
            return written
        try:
            return group + colon + self._siv.decrypt(name, [b"field", key, group])
        except (InvalidTag, ValueError):
            return written

    def _seal_value(self, key: bytes, field: bytes, value: bytes) -> bytes:
        kind = _kind(field.partition(b":")[0])
        if kind in _CLEAR_VALUES:
            return value
        if value[:1] == VERSION and len(value) >= HEAD:
            said = self._siv.encrypt(value[HEAD:], [b"value", key, field])
            return _SEALED_VERSION + value[1:HEAD] + said
        head, zero, tail = value.partition(b"\0")
        if zero and _STAMP.match(head):
            return head + zero + self._siv.encrypt(b"\x01" + tail, [b"value", key, field])
        if kind == _EVENT and not zero:
            return value  # its stamp
        return b"\0" + self._siv.encrypt(b"\x02" + value, [b"value", key, field])

    def _open_value(self, key: bytes, field: bytes, value: bytes) -> bytes:
        if _kind(field.partition(b":")[0]) in _CLEAR_VALUES:
            return value
        if value[:1] == _SEALED_VERSION:
            try:
                said = self._siv.decrypt(value[HEAD:], [b"value", key, field])
            except (InvalidTag, ValueError):
                return value
            return VERSION + value[1:HEAD] + said
        head, zero, tail = value.partition(b"\0")
        if not zero:
            return value
        try:
            plain = self._siv.decrypt(tail, [b"value", key, field])
        except (InvalidTag, ValueError):
            return value
        return plain[1:] if plain[:1] == b"\x02" else head + zero + plain[1:]

    # What is asked of all sidecars names records; all else in these records names nobody.

    def _seal_other(self, field: bytes, value: bytes) -> bytes:
        if not field.startswith(_QUESTIONS):
            return value
        return value[:_QUESTION_HEAD] + self.seal_payload(value[_QUESTION_HEAD:])

    def _open_other(self, field: bytes, value: bytes) -> bytes:
        if not field.startswith(_QUESTIONS):
            return value
        return value[:_QUESTION_HEAD] + self.open_payload(value[_QUESTION_HEAD:])

    # Payloads

    def seal_payload(self, payload: bytes) -> bytes:
        """Return how an entry of a queue is written."""
        if not payload:
            return payload
        return _MAGIC + self.id.encode() + self._siv.encrypt(payload, [b"payload"])

    def open_payload(self, payload: bytes) -> bytes:
        """Undo `seal_payload`; what is not ours, or not sealed, stays as it is."""
        head = _MAGIC + self.id.encode()
        if not payload.startswith(head):
            return payload
        try:
            return self._siv.decrypt(payload[len(head) :], [b"payload"])
        except (InvalidTag, ValueError):
            return payload


def _kind(group: bytes) -> bytes:
    return group.partition(b"@")[0]


class Sealing(Protocol):
    """The written form of payloads, and of digests in other keys, where they are no record's."""

    def seal_payload(self, payload: bytes) -> bytes:
        """Return how a payload is written."""

    def open_payload(self, payload: bytes) -> bytes:
        """Undo `seal_payload`, under whichever key that is known."""

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return how a digest is written in each form, the one to write first."""


class Unsealed:
    """The `Sealing` where all is plain."""

    def seal_payload(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def open_payload(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return the name."""
        return (name,)


UNSEALED = Unsealed()


class SealedForms:
    """The forms that a sidecar knows: it writes the first, and reads all."""

    def __init__(self, forms: Iterable[KeyedForm | PlainForm]) -> None:
        self.all = tuple(forms)
        self.first = self.all[0]
        self.others = self.all[1:]
        self._keyed = tuple(one for one in self.all if isinstance(one, KeyedForm))

    @property
    def ids(self) -> tuple[str, ...]:
        """The forms by their ids, the one that is written first."""
        return tuple(one.id for one in self.all)

    def by_id(self) -> tuple[KeyedForm | PlainForm, ...]:
        """Return all forms in an order that all sidecars share, whichever they write."""
        return tuple(sorted(self.all, key=lambda one: one.id))

    def is_sealed(self, key: bytes) -> bool:
        """Return whether a key names somebody, so that it is written differently in some form."""
        return any(form.seal_key(key) != key for form in self.all)

    def open_key(self, key: bytes) -> bytes | None:
        """Return what a written key stands for; None where its form is none of these."""
        opened = self.form_of(key)
        return None if opened is None else opened.open_key(key)

    def form_of(self, key: bytes) -> KeyedForm | PlainForm | None:
        """Return the form a written key has; that of a key which names nobody is the first."""
        return next((form for form in self.all if form.open_key(key) is not None), None)

    def open_news(self, key: bytes, fields: Mapping[bytes, bytes]) -> tuple[bytes, Record] | None:
        """Return what written news stand for; None where their form is none of these."""
        form = self.form_of(key)
        opened = None if form is None else form.open_key(key)
        if form is None or opened is None:
            return None
        return opened, self.open_questions(opened, form.open_record(opened, fields))

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return how a digest is written in each form, the one to write first."""
        return tuple(form.seal_name(name) for form in self.all)

    def open_questions(self, key: bytes, record: Record) -> Record:
        """Return a record with what is asked of all sidecars opened, under whichever key."""
        for form in self._keyed:
            if form.seal_key(key) != key:
                return record
            record = form.open_record(key, record)
        return record

    def seal_payload(self, payload: bytes) -> bytes:
        """Return how an entry of a queue, or of the spool, is written."""
        return self.first.seal_payload(payload)

    def open_payload(self, payload: bytes) -> bytes:
        """Undo `seal_payload`, under whichever key."""
        for form in self._keyed:
            payload = form.open_payload(payload)
        return payload


def forms_of(privacy: Privacy, prefix: str) -> SealedForms | None:
    """Return the forms that are configured; None where all is plain, and always was."""
    keyed = [KeyedForm(PrivacyKey(key.encode()), prefix) for key in privacy.keys]
    if not keyed:
        return None
    if privacy.identifiers is Identifiers.PLAIN:
        return SealedForms((PlainForm(), *keyed))
    return SealedForms((*keyed, PlainForm()) if privacy.read_plain else keyed)


def names_under(prefix: str, forms: SealedForms | None) -> StoreKeys:
    """Return the names under a prefix, which know where the store has them."""
    if forms is None:
        return StoreKeys(prefix)
    return StoreKeys(prefix, forms.first.seal_key, scattered=bool(forms.others))
