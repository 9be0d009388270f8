"""The store and its news where identifiers are keyed: sealed as it goes, opened as it comes.

With one form each operation is one operation of the store, as ever. With several, as while a key
is replaced, a record may lie in each of them:

- what is read is the join of them all;
- a join first brings over what other forms have and the first lacks, so that all of a record lives
  as long as it is used;
- a join that happens once (`unless`) is claimed in each form, in an order that all sidecars share.
  So two sidecars that write different forms, of which each reads the other's, never both get it.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, cast

import msgspec
import trio

from sidecar.adapters.redis.commands import FOR_EVER, Operation, Outcome
from sidecar.adapters.redis.links import Links
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.values.lattice import Record, join_all
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import (
    BEGAN,
    Append,
    Entries,
    Expires,
    Expiry,
    HistoryAppend,
    HistoryAppended,
    Index,
    Join,
    JoinResult,
    Load,
    Loaded,
    Scanned,
)
from sidecar.wire.privacy.sealed_forms import SealedForm, SealedForms
from sidecar.wire.settings.settings import StoreSettings

__all__ = ["SealedNews", "SealedStore"]


class SealedStore(RedisStore):
    """`RedisStore`, which writes names and facts in the first of these forms and reads all."""

    def __init__(
        self,
        links: Links,
        settings: StoreSettings,
        forms: SealedForms,
        **more: Any,
    ) -> None:
        super().__init__(links, settings, **more)
        self._forms = forms

    async def submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each; the answers are in order. Raises `Unavailable`, `Overloaded`."""
        forms = self._forms
        if forms.others:
            return await _Across(forms, super().submit).submit(operations)
        sealed = []
        for one in operations:
            sealed.append(_sealed(forms.first, one))
            if isinstance(one, Join):
                await _give_way(len(one.fields))
        outcomes = await super().submit(sealed)
        opened = []
        for one, outcome in zip(operations, outcomes, strict=True):
            opened.append(_opened(forms, forms.first, one, outcome))
            if isinstance(outcome, JoinResult | Loaded):
                await _give_way(len(outcome.record))
        return opened

    async def submit_all(
        self, groups: Sequence[Sequence[Operation]]
    ) -> list[list[Outcome] | Unavailable]:
        """Do each group; each fails alone."""
        answers: list[list[Outcome] | Unavailable] = [Unavailable("not done")] * len(groups)

        async def do(place: int) -> None:
            try:
                answers[place] = await self.submit(groups[place])
            except Unavailable as error:
                answers[place] = error

        async with trio.open_nursery() as nursery:
            for place in range(len(groups)):
                nursery.start_soon(do, place)
        return answers

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        """Return some of the keys that match, in any form that is known. Raises `Unavailable`."""
        found = await super().scan(pattern, bookmark)
        keys = [key for one in found.keys if (key := self._forms.open_key(one)) is not None]
        return Scanned(keys, found.bookmark)

    async def members(self, index: bytes, now: int, bookmark: bytes = b"") -> Scanned:
        """Return some live members of an index, one form after the other. Raises `Unavailable`."""
        place, _, inner = bookmark.partition(b":")
        at = int(place) if place.isdigit() and int(place) < len(self._forms.all) else 0
        form = self._forms.all[at]
        found = await super().members(form.seal_key(index), now, inner)
        members = list(map(form.open_member, found.keys))
        if found.bookmark:
            return Scanned(members, b"%d:" % at + found.bookmark)
        if at + 1 < len(self._forms.all) and self._forms.is_sealed(index):
            return Scanned(members, b"%d:" % (at + 1))
        return Scanned(members, b"")

    async def expiries(self, *keys: bytes) -> list[int]:
        """Return when each key expires, in any form. Raises `Unavailable`, `Overloaded`."""
        written = [[form.seal_key(key) for form in self._forms.all] for key in keys]
        moments = iter(await self._expiries_of(list(chain.from_iterable(written))))
        return [max(next(moments) for _ in one) for one in written]


def opening(
    forms: SealedForms, deliver: Callable[[bytes, Record], None]
) -> Callable[[bytes, Record], None]:
    """Return `deliver` for news as they are written; those in unknown forms are left out.

    Where there are several forms a record that begins in one of them may be there in another.
    """

    def opened(key: bytes, fields: Record) -> None:
        began = fields.pop(BEGAN, None)
        news = forms.open_news(key, fields)
        if news is not None:
            if began is not None and len(forms.all) == 1:
                news[1][BEGAN] = began
            deliver(*news)

    return opened


class SealedNews(RedisNews):
    """`RedisNews` of channels in all forms. What it delivers is as written: see `opening`."""

    def __init__(
        self, links: Links, settings: StoreSettings, forms: SealedForms, **more: Any
    ) -> None:
        super().__init__(links, settings, **more)
        self._forms = forms

    def _written(self, channel: bytes) -> list[bytes]:
        return list(dict.fromkeys(form.seal_key(channel) for form in self._forms.all))

    async def follow(self, *channels: bytes) -> None:
        """Subscribe to channels in all forms. Raises `Unavailable` while the link is down."""
        await super().follow(*(one for channel in channels for one in self._written(channel)))

    def unfollow(self, channel: bytes) -> None:
        """Undo one `follow`."""
        for one in self._written(channel):
            super().unfollow(one)


MANY = 32
"""Fields of a record after whose sealing or opening others get their turn."""


async def _give_way(fields: int) -> None:
    """Let others go on: a field is microseconds, and many records have many."""
    if fields >= MANY:
        await trio.lowlevel.checkpoint()


def _sealed(form: SealedForm, operation: Operation) -> Operation:
    if isinstance(operation, Join):
        return _sealed_join(form, operation)
    match operation:
        case Load(key=key, index=index, now=now):
            return Load(form.seal_key(key), None if index is None else form.seal_key(index), now)
        case Append(key=key, payload=payload, bound=bound, group=group):
            return Append(key, form.seal_payload(payload), bound, group)
        case HistoryAppend():
            return _sealed_history(form, operation)
        case other:
            return other


def _sealed_history(form: SealedForm, append: HistoryAppend) -> HistoryAppend:
    fields = form.seal_record(append.key, append.fields)
    return msgspec.structs.replace(append, key=form.seal_key(append.key), fields=fields)


def _sealed_join(form: SealedForm, join: Join) -> Join:
    unless, publish, members_of = join.unless, join.publish, join.members_of
    return msgspec.structs.replace(
        join,
        key=form.seal_key(join.key),
        fields=form.seal_record(join.key, join.fields),
        indexes=tuple(_sealed_index(form, one) for one in join.indexes),
        unless=None if unless is None else form.seal_field(join.key, unless),
        publish=None if publish is None else form.seal_key(publish),
        members_of=None if members_of is None else form.seal_key(members_of),
        history=None if join.history is None else _sealed_history(form, join.history),
    )


def _sealed_index(form: SealedForm, index: Index) -> Index:
    """Return an index of whom a record names has members that do, too."""
    key = form.seal_key(index.key)
    member = index.member if key == index.key else form.seal_member(index.member)
    return Index(key, member, index.expire_at)


def _opened(
    forms: SealedForms, form: SealedForm, operation: Operation, outcome: Outcome
) -> Outcome:
    if isinstance(operation, Join) and isinstance(outcome, JoinResult):
        return _opened_join(forms, form, operation, outcome)
    match operation, outcome:
        case Load(key=key, index=index), Loaded():
            return Loaded(
                forms.open_questions(key, form.open_record(key, outcome.record)),
                _members(form, index, outcome.members),
            )
        case HistoryAppend(key=key, fields=fields), HistoryAppended(fresh=fresh):
            names = {form.seal_field(key, field): field for field in fields}
            return HistoryAppended(tuple(names[one] for one in fresh))
        case _, Entries(entries=entries):
            return Entries(
                tuple(
                    msgspec.structs.replace(one, payload=forms.open_payload(one.payload))
                    for one in entries
                )
            )
        case _:
            return outcome


def _opened_join(
    forms: SealedForms, form: SealedForm, join: Join, outcome: JoinResult
) -> JoinResult:
    names = {form.seal_field(join.key, field): field for field in join.fields}
    return JoinResult(
        tuple(names[one] for one in outcome.changed),
        outcome.joined,
        forms.open_questions(join.key, form.open_record(join.key, outcome.record)),
        _members(form, join.members_of, outcome.members),
        began=outcome.began and len(forms.all) == 1,
    )


def _members(
    form: SealedForm, index: bytes | None, members: tuple[bytes, ...]
) -> tuple[bytes, ...]:
    if index is None or form.seal_key(index) == index:
        return members
    return tuple(map(form.open_member, members))


class _Found(msgspec.Struct, frozen=True):
    """The record of a join as found: in the first form, in all, its expiry (ms), its members."""

    join: Join
    first: Record
    everything: Record
    expire_at: int
    members: tuple[bytes, ...]


Submit = Callable[[Sequence[Operation]], Awaitable[list[Outcome]]]


class _Across:
    """Operations on records that may lie in several forms."""

    def __init__(self, forms: SealedForms, submit: Submit) -> None:
        self._forms = forms
        self._submit = submit

    async def submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each, joins before reads; the answers are in order."""
        joins = [
            one for one in operations if isinstance(one, Join) and self._forms.is_sealed(one.key)
        ]
        found = dict(zip(map(id, joins), await self._find(joins), strict=True))
        outcomes: dict[int, Outcome] = {}
        for join in joins:
            if join.unless is not None:
                outcomes[id(join)] = await self._claim(found[id(join)])
        left = [one for one in operations if id(one) not in outcomes]
        spread = [self._spread(one, found.get(id(one))) for one in left]
        answers = iter(await self._submit(list(chain.from_iterable(spread))))
        for one, written in zip(left, spread, strict=True):
            replies = [next(answers) for _ in written]
            outcomes[id(one)] = self._merged(one, replies, found.get(id(one)))
        return [outcomes[id(one)] for one in operations]

    async def _find(self, joins: Sequence[Join]) -> list[_Found]:
        forms = self._forms.all
        asked: list[Operation] = []
        for join in joins:
            for form in forms:
                asked.append(_sealed(form, Load(join.key, join.members_of, join.now)))
                asked.append(Expiry(form.seal_key(join.key)))
        answers = iter(await self._submit(asked)) if asked else iter(())
        found = []
        for join in joins:
            records, until, members = [], 0, dict[bytes, None]()
            for form in forms:
                loaded, expires = cast("Loaded", next(answers)), cast("Expires", next(answers))
                records.append(form.open_record(join.key, loaded.record))
                until = max(until, expires.at if expires.at < FOR_EVER else 0)
                members |= dict.fromkeys(_members(form, join.members_of, loaded.members))
            found.append(_Found(join, records[0], join_all(records), until, tuple(members)))
        return found

    def _spread(self, operation: Operation, found: _Found | None) -> list[Operation]:
        """Return the operations that stand for one."""
        if found is not None:
            return [_sealed_join(self._forms.first, _bringing(found.join, found))]
        if isinstance(operation, Load) and self._forms.is_sealed(operation.key):
            return [_sealed(form, operation) for form in self._forms.all]
        return [_sealed(self._forms.first, operation)]

    def _merged(
        self, operation: Operation, replies: list[Outcome], found: _Found | None
    ) -> Outcome:
        forms = self._forms
        if found is not None:
            brought = _bringing(found.join, found)
            return _answer(_opened(forms, forms.first, brought, replies[0]), found)
        if isinstance(operation, Load) and forms.is_sealed(operation.key):
            opened = [
                _opened(forms, form, operation, reply)
                for form, reply in zip(forms.all, replies, strict=True)
            ]
            loaded = [one for one in opened if isinstance(one, Loaded)]
            members = dict.fromkeys(chain.from_iterable(one.members for one in loaded))
            return Loaded(join_all(one.record for one in loaded), tuple(members))
        return _opened(forms, forms.first, operation, replies[0])

    async def _claim(self, found: _Found) -> Outcome:
        """Join what happens once, where this sidecar gets it in every form.

        All of the join goes into each form, so that what is claimed is there, whoever dies between
        two of them.
        """
        join = found.join
        field = join.unless or b""
        if field in found.everything:
            return await self._found_claimed(found)
        ours = msgspec.structs.replace(_bringing(join, found), want_record=True)
        answer: Outcome = JoinResult((), False, {}, ())
        for form in self._forms.by_id():
            (reply,) = await self._submit([_sealed_join(form, ours)])
            opened = _opened(self._forms, form, ours, reply)
            if isinstance(opened, JoinResult) and not opened.joined:
                return JoinResult((), False, _without_ours(join, opened.record), found.members)
            if form is self._forms.first:
                answer = opened
        return _answer(answer, found)

    async def _found_claimed(self, found: _Found) -> Outcome:
        """Bring over what was claimed in another form, by a sidecar that may have died since."""
        join = found.join
        nothing = msgspec.structs.replace(join, fields={}, unless=None, indexes=())
        bringing = _bringing(nothing, found)
        # But not the claim itself: whoever is about to claim the first form must not find it there.
        fields = {name: value for name, value in bringing.fields.items() if name != join.unless}
        if fields:
            bringing = msgspec.structs.replace(bringing, fields=fields)
            await self._submit([_sealed_join(self._forms.first, bringing)])
        return JoinResult((), False, dict(found.everything), found.members)


def _without_ours(join: Join, record: Record) -> Record:
    """Return a lost claim's record without our own value, which was brought over and is no claim.

    The claim may be another one's, of which that is the later value: whose it is nobody can know.
    """
    field = join.unless or b""
    if record.get(field) == join.fields.get(field):
        return {name: value for name, value in record.items() if name != field}
    return record


def _bringing(join: Join, found: _Found) -> Join:
    """Return a join that also brings over what other forms have of its record."""
    lacking = {
        field: value
        for field, value in found.everything.items()
        if found.first.get(field, b"") < value
    }
    if not lacking:
        return join
    return msgspec.structs.replace(
        join,
        fields=join_all((lacking, join.fields)),
        expire_at=max(join.expire_at, found.expire_at),
    )


def _answer(outcome: Outcome, found: _Found) -> Outcome:
    """Return the answer to a join, without what it only brought over."""
    if not isinstance(outcome, JoinResult):
        return outcome
    join = found.join
    changed = tuple(
        field
        for field in outcome.changed
        if field in join.fields and found.everything.get(field, b"") < join.fields[field]
    )
    record = (
        join_all((found.everything, outcome.record)) if join.want_record or join.want_group else {}
    )
    members = tuple(dict.fromkeys((*outcome.members, *found.members)))
    return JoinResult(changed, outcome.joined, record, members)
