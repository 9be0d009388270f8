"""Diagnosis of a server of the store, by what it says of itself."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.wire.settings.settings import Eviction, StoreSettings

_PART = Part.STORE
_OLDEST = (7, 0)
_WITH_WAITAOF = (7, 2)
_CLOCK_NOTED = 2.0
_NTP = "keep the clocks of both machines in step (NTP)"
_KEEP = "`maxmemory-policy noeviction` there (`CONFIG SET`, and in its configuration file)"
_PERSIST = "`appendonly yes` there, or accept that sessions sign in anew after it restarts"


class ServerReport(NamedTuple):
    """The answers of one server: its `info`, its snapshots' `save` (None: not allowed to ask).

    `lacks` are the rights that it does not grant us, and `words` those of its refusal; `ahead` is
    how far its clock is ahead of ours in seconds, None where it does not say.
    """

    name: str
    info: Mapping[str, object]
    lacks: tuple[str, ...] = ()
    words: str = ""
    save: str | None = None
    ahead: float | None = None


def diagnose_server(
    report: ServerReport, settings: StoreSettings, skew: float
) -> Iterator[Diagnosis]:
    """Return how it stands with one server; `skew` is the most that clocks may differ by."""
    yield _rights(report, settings)
    if not report.info:
        words = "it does not say what it is"
        yield doubtful(_PART, _name(report, "server"), words, "grant the right +info")
        return
    yield from _version(report, settings)
    yield from _role(report)
    yield _eviction(report, settings)
    yield _persistence(report, settings)
    yield from _clock(report, skew)


def _name(report: ServerReport, what: str) -> str:
    return f"{what} of {report.name}" if report.name else what


def _rights(report: ServerReport, settings: StoreSettings) -> Diagnosis:
    name = _name(report, "rights")
    if not report.lacks:
        return right(_PART, name, "its user has all that are needed")
    user = settings.username or "default"
    rights = " ".join(report.lacks)
    kinds = {"~": "keys", "&": "channels", "+": "commands"}
    lacking = [what for sign, what in kinds.items() if any(r[0] == sign for r in report.lacks)]
    words = f"its user lacks rights to {' and '.join(lacking)}: {rights}"
    if report.words:
        words += f" ({report.words})"
    return wrong(_PART, name, words, f"`ACL SETUSER {user} {rights}` there (docs/store.md)")


def _version(report: ServerReport, settings: StoreSettings) -> Iterator[Diagnosis]:
    found = str(report.info.get("redis_version", ""))
    valkey = str(report.info.get("valkey_version", ""))
    shown = f"Valkey {valkey}" if valkey else f"Redis {found or 'of an unknown version'}"
    parts = tuple(int(one) for one in found.split(".")[:2] if one.isdigit())
    name = _name(report, "version")
    if parts < _OLDEST:
        yield wrong(_PART, name, shown, "use Redis or Valkey 7.0 or newer")
    elif settings.wait_aof and parts < _WITH_WAITAOF:
        words = f"{shown}, which has no WAITAOF, and `store.wait_aof` is true"
        yield wrong(_PART, name, words, "use Redis or Valkey 7.2 or newer, or leave it out")
    else:
        yield right(_PART, name, shown)


def _role(report: ServerReport) -> Iterator[Diagnosis]:
    if report.info.get("role") in ("slave", "replica"):
        cure = "name the master in `store.url`, or sentinels, which know it (redis+sentinel://)"
        yield wrong(_PART, _name(report, "role"), "it is a replica, which takes no writes", cure)


def _eviction(report: ServerReport, settings: StoreSettings) -> Diagnosis:
    name = _name(report, "eviction")
    policy = str(report.info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return right(_PART, name, policy)
    words = f"{policy}: when it is full, it throws out marks and revocations"
    if settings.eviction is Eviction.ACCEPT:
        return doubtful(_PART, name, words, f"{_KEEP}; `store.eviction: accept` takes it so")
    return wrong(_PART, name, f"{words}, so that the daemon does not start", _KEEP)


def _persistence(report: ServerReport, settings: StoreSettings) -> Diagnosis:
    name, info = _name(report, "persistence"), report.info
    if info.get("aof_enabled") == 1:
        if info.get("aof_last_write_status", "ok") != "ok":
            words = "its last write to the append-only file failed"
            return wrong(_PART, name, words, "look at its log: is its disk full?")
        return right(_PART, name, "it keeps an append-only file")
    if settings.wait_aof:
        words = "it keeps no append-only file, and `store.wait_aof` waits for one"
        cure = "`appendonly yes` there, or leave `wait_aof` out"
        return wrong(_PART, name, words, cure)
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        words = "its last snapshot failed, after which it takes no writes"
        return wrong(_PART, name, words, "look at its log: is its disk full?")
    if report.save is None:
        words = "it keeps no append-only file; whether snapshots, its user may not ask"
        return doubtful(_PART, name, words, _PERSIST)
    if report.save:
        words = f"it keeps snapshots alone (save {report.save}): the last minutes may be lost"
        return doubtful(_PART, name, words, _PERSIST)
    words = "it keeps nothing: a restart loses all marks and revocations"
    return doubtful(_PART, name, words, _PERSIST)


def _clock(report: ServerReport, skew: float) -> Iterator[Diagnosis]:
    if report.ahead is None:
        return
    name, apart = _name(report, "clock"), abs(report.ahead)
    where = "ahead of" if report.ahead > 0 else "behind"
    words = f"it is {apart:.1f} s {where} this machine's"
    if apart > skew:
        words = f"{words}, more than `sessions.event_skew` ({skew:g} s): records expire wrongly"
        yield wrong(_PART, name, words, _NTP)
    elif apart > _CLOCK_NOTED:
        yield doubtful(_PART, name, words, _NTP)
    else:
        yield right(_PART, name, "it agrees with this machine's")
