"""Packs states and records of sessions, and gives back what is equal to them."""

import msgspec

from sidecar.domain.evaluation.activation import NOTHING
from sidecar.domain.session.state import State
from sidecar.domain.values.lattice import Record
from sidecar.wire.compact.deflate import Deflater

_encode = msgspec.msgpack.Encoder().encode
_state_decoder = msgspec.msgpack.Decoder(State)
_record_decoder = msgspec.msgpack.Decoder(Record)


class Packers:
    """The packers of a view, each with a dictionary of its own."""

    __slots__ = ("_records", "_states")

    def __init__(self) -> None:
        self._states = Deflater()
        self._records = Deflater()

    def pack_state(self, state: State) -> bytes:
        """Return a state in few bytes."""
        return self._states.pack(_encode(state))

    def unpack_state(self, packed: bytes) -> State:
        """Undo `pack_state`."""
        state = _state_decoder.decode(self._states.unpack(packed))
        for policy, activation in state.activations.items():
            if activation == NOTHING:
                state.activations[policy] = NOTHING  # the evaluator knows it by its identity
        return state

    def pack_record(self, record: Record) -> bytes:
        """Return a record in few bytes; none at all for an empty one."""
        return self._records.pack(_encode(record)) if record else b""

    def unpack_record(self, packed: bytes) -> Record:
        """Undo `pack_record`."""
        return _record_decoder.decode(self._records.unpack(packed)) if packed else {}
