# ruff: noqa: INP001 - a script, no package
"""Writes the configuration reference from the settings' own docstrings, comments and defaults.

And the tables of powers, of warnings, of the rights at the store and of the rooms of the code from
their descriptions.
`python docs/generate.py` writes all; tests see to it that the pages in the repository are current.
What describes interfaces and observations stands beside it, each a module that writes its pages.
"""

import ast
import enum
import functools
import inspect
import io
import sys
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import msgspec.inspect as mi

# Also where it is called by its path: `python docs/generate.py`.
sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import (
    command_line,
    error_codes,
    how_to,
    listeners,
    observed,
    pictures,
    socket_protocol,
)
from sidecar.adapters.redis_server.rights import least_rights, needs_of
from sidecar.domain.policy import lint
from sidecar.domain.sources import powers
from sidecar.domain.values.assurance import DEFAULT_LEVELS
from sidecar.tuning.scenario.given import GIVEN, SESSION
from sidecar.tuning.scenario.then import CALL
from sidecar.wire.checks import weaknesses
from sidecar.wire.config.reloads import keys
from sidecar.wire.config.settings_reader import REFINED
from sidecar.wire.decision_log.fields import FIELDS, VERDICTS
from sidecar.wire.decision_log.settings import Mask
from sidecar.wire.events.kinds import ENVELOPE, EVENTS
from sidecar.wire.grammar.records import RecordKey
from sidecar.wire.policies import policy_grammar, session_controls
from sidecar.wire.policies.conditions import CONDITIONS
from sidecar.wire.policies.grants import FORMS
from sidecar.wire.settings.settings import Settings, StoreSettings
from sidecar.wire.yaml.scalars import ScalarKind
from sidecar.wire.yaml.structs import Shapes, default_of, present_in, struct_type
from sidecar.wire.yaml.tree import Problems

PAGE = Path(__file__).parent / "reference" / "configuration.md"
SOURCES = Path(__file__).parent / "sources.md"
POLICIES = Path(__file__).parent / "reference" / "policies.md"
STORE = Path(__file__).parent / "store.md"
ARCHITECTURE = Path(__file__).parent / "architecture.md"
ROOT = Path(__file__).parents[1]
CODE = ROOT / "sidecar"
CLIENT = ROOT / "clients" / "python" / "stepup_client"
PROVIDERS = Path(__file__).parent / "providers" / "README.md"
SCENARIOS = Path(__file__).parent / "scenarios.md"
EVENTS_PAGE = Path(__file__).parent / "reference" / "events.md"
WARNINGS = Path(__file__).parent / "reference" / "warnings.md"
WARNINGS_HEAD = """\
# Warnings

<!-- Written by docs/generate.py from wire/checks/weaknesses.py and domain/policy/lint.py. -->

`sidecar validate` warns of what is allowed and weak, or probably not meant, each by a name:
`FILE:LINE: field: warning: what was found; what to do (name)`. The exit status stays 0;
`--strict` makes it 2. What is meant so is accepted by its name, for one call with `--allow NAME`
and for good in the configuration, where a comment can say why:

```yaml
warnings:
  accept: [store-plain]   # the store is in this pod's own network, behind WireGuard
```

At its start, and when a reload brings others, the daemon logs the warnings of the first table, and
those marked * of the second: `configuration-warning`, with `code`, `field` and `message`. What
`run` cannot use is no warning but an error.
"""
EVENTS_HEAD = """\
# Events

<!-- Written by docs/generate.py from sidecar/wire/events/kinds.py: change it there. -->

An event says what happened to a session, a user or a device: one JSON object for each, over the
local socket or `POST /v1/events`, and in [scenarios](../scenarios.md). What is not known is
refused, by the name of the member: only `data` may hold more than is known here. A member that is
null counts as absent. `sidecar schema event` prints a JSON Schema.

```json
{"type": "risk-level-change", "subject": {"user": "ada"}, "data": {"current_level": "HIGH"}}
```

| member | means |
| --- | --- |
"""
DECISION_LOG = Path(__file__).parent / "reference" / "decision-log.md"
DECISION_LOG_HEAD = """\
# Records of the decision log

<!-- Written by docs/generate.py from sidecar/wire/decision_log/fields.py: change it there. -->

A record is a line of JSON. A member that would be empty, false or unknown is absent. New members
may come with any version; those that are there keep their names and meanings. How the log is set
up, masked and verified: [decision log](../decision-log.md).

*OCSF* is the attribute of the class API Activity (6003) with the profiles Security Control and
Host; *ECS* the field of the Elastic Common Schema. What they have no name for goes into
`unmapped.*` and `sidecar.*`. *Masks* are those that `decision_log.masks` may name, the default
first.

| member | means | OCSF | ECS | masks |
| --- | --- | --- | --- | --- |"""
DECISION_LOG_TAIL = """
## Records that are no decisions

- `dropped`: so many decisions are missing before this record. Its member `dropped` has their number
  by cause, as `sidecar_decision_log_dropped_total` has.
- `chain`: what the chain does. Its member `chain` is `begun` (and `why` says why it does not go on
  from a former one), `resumed` (after a start), `rotated` or `moved` (in another file).
"""
HEAD = """\
# Configuration

<!-- Written by docs/generate.py from sidecar/wire/settings/settings.py: change it there. -->

One YAML file, read as YAML 1.2: `NO` is text, and only `true` and `false` are truths. Every key has
a default, but for those that say *required*. `sidecar validate` shows all mistakes at once, each as
`FILE:LINE: field: what is wrong`; `sidecar schema config` prints a JSON Schema for editors.

- **Durations** are seconds, or `500ms`, `90s`, `15m`, `1h30m`, `7d`, `2w`. **Sizes** are bytes, or
  `64KiB`, `1MiB`, `1MB`.
- **Paths** are relative to the directory of the configuration file.
- **Environment**: every key can be set as `SIDECAR_` and its path, with `__` between the parts:
  `store.url` is `SIDECAR_STORE__URL`, the first issuer's audiences are
  `SIDECAR_TOKENS__ISSUERS__0__AUDIENCES`, the routes `SIDECAR_ROUTES`. Case does not count. Lists
  are written with commas or, like mappings, in YAML's flow style (which JSON is, too). The
  environment wins over the file. `SIDECAR_SOCKET` is short for `SIDECAR_SOCKET__PATH`.
- **Secrets** (`admin.token`, `store.password`, ...) may each stand in a file, named by the key with
  `_file` after it; a newline at its end does not count. Give one of the two. A changed file counts
  without a restart, and the old secret no more: see
  [SECURITY.md](../../SECURITY.md#secrets-rotate).
- **Reload**: a changed file is taken up while the daemon runs, or refused as a whole. A key that is
  *live* is in force at once, with all below it, and `reload-applied` names it; one that says
  *restart* stays as it was at the start until the next one: `restart-required` in the log,
  `/readyz` and `sidecar_restart_required` say which have changed. `sidecar schema config` says the
  same of each key. A wait, a connection or a fetch that is under way ends as it began.
"""
NEWLINE = "\n"
ONE_OF_EACH = """\
definitions:
  conditions:
    away: {not: {locations: [headquarters]}}
policies:
  - id: one-of-each
    conditions:
      any:
"""
_KINDS = {
    ScalarKind.DURATION: "duration",
    ScalarKind.SIZE: "size",
    ScalarKind.FILE: "path",
    ScalarKind.CIDR: "CIDR",
    ScalarKind.COUNTRY: "country code",
    ScalarKind.ASN: "AS number",
    ScalarKind.MODE: "octal mode",
    ScalarKind.BIND: "host:port",
    ScalarKind.ALGORITHM: "algorithm",
    ScalarKind.STORE: "URL",
    ScalarKind.URL: "URL",
    ScalarKind.STRING_OR_URI: "text",
    ScalarKind.METHOD: "HTTP method",
    ScalarKind.HEADER: "name",
    ScalarKind.NAME: "name",
    ScalarKind.CLAIM: "claim",
    ScalarKind.ORIGIN: "origin",
    ScalarKind.PUBLIC: "path",
}


class Row(NamedTuple):
    """One key of a table."""

    key: str
    kind: str
    default: str
    meaning: str


@functools.cache
def comments(cls: type) -> dict[str, str]:
    """What the comments of a struct's source say of its fields: beside them, or right above."""
    source = inspect.getsource(cls)
    beside: dict[int, str] = {}
    above: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            alone = not token.line[: token.start[1]].strip()
            (above if alone else beside)[token.start[0]] = text
    (body,) = ast.parse(source).body
    found = {}
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = beside.get(node.lineno) or _right_above(above, node.lineno)
    return found


def _right_above(comments: dict[int, str], line: int) -> str:
    """The lines of comment that end right above a line, as one."""
    lines: list[str] = []
    while (text := comments.get(line - 1)) is not None:
        lines.insert(0, text)
        line -= 1
    return " ".join(lines)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for member in struct_type(Settings).fields:
        section = list(_section(member.type, member.encode_name, "##", default_of(member)))
        parts.extend(section or _value(member))
    return "\n".join(parts)


def _value(member: mi.Field) -> Iterator[str]:
    """A key that is a value by itself, and no section."""
    inner = _bare(member.type)
    yield f"## {member.encode_name}\n"
    if isinstance(inner, mi.EnumType):
        yield inspect.cleandoc(inner.cls.__doc__ or "") + "\n"
    yield _TABLE
    shown = _default(default_of(member), member.type)
    reload, meaning = _reload(member.encode_name), comments(Settings)[member.name]
    yield f"| `{member.encode_name}` | {_kind(member.type)} | {shown} | {reload} | {meaning} |\n"


_TABLE = "| key | is | default | changes | |\n| --- | --- | --- | --- | --- |"


def _reload(path: str) -> str:
    """Say what a reload makes of a key; nothing of a section, whose keys differ."""
    whole = path.replace("[]", "")
    for key in keys():
        if whole == key.name or whole.startswith(f"{key.name}."):
            return key.reload.value
    return ""


def _section(kind: mi.Type, path: str, level: str, default: Any) -> Iterator[str]:
    inner = _bare(kind)
    if not isinstance(inner, mi.StructType):
        below, suffix = _below(inner)
        if isinstance(below, mi.StructType):
            yield from _section(below, path + suffix, level, msgspec.UNSET)
        return
    yield f"{level} {path}\n"
    yield inspect.cleandoc(inner.cls.__doc__ or "") + "\n"
    yield from _table(inner, default, path)
    shapes = Shapes(Problems(), REFINED)
    for member in inner.fields:
        below_type = _bare(shapes.type_of(inner.cls, member))
        standard = getattr(default, member.name, default_of(member))
        at = f"{path}.{member.encode_name}"
        yield from _section(below_type, at, "###", standard)
        if member.name == "weights" and isinstance(standard, dict):
            yield "The built-in weights:\n"
            yield "| name | weight | half-life |\n| --- | --- | --- |"
            yield from (
                f"| `{name}` | {weight.weight:g} | {_duration(weight.half_life)} |"
                for name, weight in standard.items()
            )
            yield ""


def _table(kind: mi.StructType, default: Any, path: str) -> Iterator[str]:
    yield _TABLE
    shapes = Shapes(Problems(), REFINED)
    for member in kind.fields:
        standard = getattr(default, member.name, default_of(member))
        described = shapes.type_of(kind.cls, member)
        meaning = comments(kind.cls).get(member.name, "")
        shown = _default(standard, described)
        reload = _reload(f"{path}.{member.encode_name}")
        yield f"| `{member.encode_name}` | {_kind(described)} | {shown} | {reload} | {meaning} |"
    yield ""


def _below(kind: mi.Type) -> tuple[mi.Type | None, str]:
    match kind:
        case mi.VarTupleType():
            return _bare(kind.item_type), "[]"
        case mi.DictType():
            return _bare(kind.value_type), ".NAME"
        case mi.UnionType():
            return _bare(present_in(kind)[0]), ""
        case _:
            return None, ""


def _bare(kind: mi.Type) -> mi.Type:
    return kind.type if isinstance(kind, mi.Metadata) else kind


def _kind(kind: mi.Type) -> str:
    if isinstance(kind, mi.Metadata) and kind.extra:
        return _KINDS[kind.extra["kind"]]
    match _bare(kind):
        case mi.StructType():
            return "section"
        case mi.EnumType(cls=cls):
            return " or ".join(f"`{member.value}`" for member in cls)
        case mi.VarTupleType(item_type=item) | mi.FrozenSetType(item_type=item):
            return f"list of {_plural(_kind(item))}"
        case mi.DictType(value_type=value):
            return f"mapping to {_plural(_kind(value))}"
        case mi.UnionType() as union:
            one, *several = present_in(union)
            return f"{_kind(one)}, or {'a list of such' if several else 'null'}"
        case mi.BoolType():
            return "`true` or `false`"
        case mi.IntType():
            return "whole number"
        case mi.FloatType():
            return "number"
        case _:
            return "text"


def _plural(name: str) -> str:
    return name if name == "text" or name.startswith("list") else f"{name}s"


def _default(value: Any, kind: mi.Type) -> str:
    if value is msgspec.UNSET:
        return "*required*"
    if isinstance(value, msgspec.Struct) or (isinstance(value, tuple | dict) and _nested(value)):
        return "see below"
    if isinstance(kind, mi.Metadata) and kind.extra and kind.extra["kind"] is ScalarKind.DURATION:
        return f"`{_duration(value)}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    plain = msgspec.json.encode(value).decode().replace(",", ", ")
    return "" if plain in ('""', "[]", "{}") else f"`{plain}`"


def _nested(value: tuple[Any, ...] | dict[str, Any]) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, msgspec.Struct) for item in items)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def sources_page() -> str:
    """Return the page of sources, with the table of powers in it."""
    return _replaced(SOURCES, "powers", powers.table())


def store_page() -> str:
    """Return the page of the store, with the commands that give a user its rights in it."""
    least = needs_of(StoreSettings())
    lines = textwrap.wrap(" ".join(least_rights(least)), 90, break_on_hyphens=False)
    rights = " \\\n  ".join(["ACL SETUSER sidecar on >PASSWORD", *lines])
    more = [need.right for need in needs_of(StoreSettings(), transmits=True) if need not in least]
    with_transmitter = "\n  ".join(textwrap.wrap(" ".join(more), 90, break_on_hyphens=False))
    return _replaced(
        STORE,
        "rights",
        f"```\n{rights}\n```\n\nand where `transmitter.issuer` is set\n\n"
        f"```\n  {with_transmitter}\n```\n",
    )


def providers_page() -> str:
    """Return the page of identity providers, with the levels that are built in."""
    rows = ["| level | `acr` | `amr`, any of |\n| --- | --- | --- |"]
    for level in DEFAULT_LEVELS:
        acr = ", ".join(f"`{one}`" for one in level.acr)
        ways = sorted(sorted(way, key=_by_factor) for way in level.amr)
        amr = ", ".join(f"`{' + '.join(way)}`" for way in ways)
        rows.append(f"| `{level.name}` | {acr} | {amr} |")
    return _replaced(PROVIDERS, "levels", "\n".join(rows) + "\n")


def _by_factor(method: str) -> tuple[int, str]:
    """A password comes first, and what confirms a key last."""
    order = ("pwd", "hwk", "swk", "sc")
    return order.index(method) if method in order else len(order), method


def policies_page() -> str:
    """Return the page of policies, with what their grammar says of each part."""
    page = _replaced(POLICIES, "keys", _keys_of(policy_grammar.POLICY.keys))
    page = _replaced(page, "conditions", _conditions())
    page = _replaced(page, "grants", _grants())
    page = _replaced(page, "session", _keys_of(session_controls.SESSION.keys))
    return _replaced(page, "every-time", _keys_of(session_controls.FREQUENCY.keys))


def _keys_of(keys: Mapping[str, RecordKey]) -> str:
    """Return the table of a record's keys; with their defaults, if any has one."""
    rows = ["| key | means | written as | default |", "| --- | --- | --- | --- |"]
    for key, one in keys.items():
        default = one.default or ("*required*" if one.required else "")
        rows.append(f"| `{key}` | {one.meaning} | {one.rule.words()} | {default} |")
    return NEWLINE.join((*rows, ""))


def _grants() -> str:
    rows = ["| written as | means |", "| --- | --- |"]
    rows += [f"| `{example}` | {meaning} |" for example, meaning in FORMS]
    return NEWLINE.join((*rows, ""))


def _conditions() -> str:
    rows = ["| condition | holds when | written as |", "| --- | --- | --- |"]
    rows += [f"| `{row.key}` | {row.holds} | {row.rule.words()} |" for row in CONDITIONS]
    examples = [f"        - {row.key}: {row.example}" for row in CONDITIONS]
    text = f"{ONE_OF_EACH}{NEWLINE.join(examples)}\n    grant: mfa\n"
    return NEWLINE.join((*rows, "", "One of each:", "", f"```yaml\n{text}```\n"))


def scenarios_page() -> str:
    """Return the page of scenarios, with the keys of what is given and of calls."""
    page = _replaced(SCENARIOS, "given", _keys_of(GIVEN.keys))
    page = _replaced(page, "session", _keys_of(SESSION.keys))
    return _replaced(page, "then", _keys_of(CALL.keys))


def events_page() -> str:
    """Return the page of events, with a table of the members of each."""
    parts = [EVENTS_HEAD.rstrip()]
    parts += [f"| `{name}` | {meaning} |" for name, (_, meaning) in ENVELOPE.items()]
    for name, kind in EVENTS.items():
        about = ", ".join(f"`{each}`" for each in kind.touches)
        which = "" if len(kind.touches) == 1 else "one or more of "
        parts.append(f"\n## {name}\n\nIt says: {kind.says}. Its subject names {which}{about}.\n")
        parts.append("| data | means | is |\n| --- | --- | --- |")
        for key, member in kind.data.items():
            must = "; *required*" if member.rule.required else ""
            parts.append(f"| `{key}` | {member.meaning} | {member.rule.words()}{must} |")
    return NEWLINE.join((*parts, ""))


def decision_log_page() -> str:
    """Return the page of the decision log's records."""
    parts = [DECISION_LOG_HEAD]
    for one in FIELDS:
        masks = ""
        if one.masking is not None:
            may = [m for m in Mask if m is not Mask.HASH or one.masking.can_hash]
            may.sort(key=lambda mask, first=one.masking.default: mask is not first)
            masks = ", ".join(f"`{mask.value}`" for mask in may)
        parts.append(f"| `{one.name}` | {one.meaning} | `{one.ocsf}` | `{one.ecs}` | {masks} |")
    parts.append("\n## Verdicts\n\n| `verdict` | OCSF | ECS |\n| --- | --- | --- |")
    parts += [f"| `{one.verdict}` | {one.ocsf} | {one.ecs} |" for one in VERDICTS]
    parts.append(DECISION_LOG_TAIL.rstrip())
    return NEWLINE.join((*parts, ""))


def _replaced(page: Path | str, name: str, content: str) -> str:
    """Return a page, or the text of one, with this between its marks of that name."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"<!-- {name}: begin -->\n")
    _, end, after = rest.partition(f"<!-- {name}: end -->\n")
    return f"{before}{begin}\n{content}\n{end}{after}"


FLOORS = (
    *("cli", "demo", "tuning", "daemon", "shared_signals", "entra"),
    *("adapters", "service", "wire", "domain"),
)


def architecture_page() -> str:
    """Return the page of the architecture, with its map of rooms."""
    rows = ["| room | what it is for |", "| --- | --- |"]
    for floor in FLOORS:
        rooms = sorted(path.parent for path in (CODE / floor).rglob("__init__.py"))
        rows += [_row(room.relative_to(CODE).as_posix(), room) for room in rooms]
    rooms = sorted(path.parent for path in CLIENT.rglob("__init__.py"))
    rows += [_row(room.relative_to(CLIENT.parent).as_posix(), room) for room in rooms]
    return _replaced(ARCHITECTURE, "rooms", "\n".join(rows))


def _row(name: str, folder: Path) -> str:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    purpose = " ".join(text.partition("\n\n")[0].split())
    return f"| [`{name}`](../{folder.relative_to(ROOT).as_posix()}) | {purpose} |"


def warnings_page() -> str:
    """Return the page of warnings, each with its meaning and its cure."""
    parts = [WARNINGS_HEAD]
    tables = (
        ("What makes a deployment weak", weaknesses.CODES, weaknesses.ADVICE),
        ("What is probably not meant", lint.CODES, lint.ADVICE),
    )
    for title, codes, advice in tables:
        parts.append(f"## {title}\n\n| name | means | cure |\n| --- | --- | --- |")
        for code, meaning in codes.items():
            star = "*" if code in weaknesses.OF_ALL else ""
            parts.append(f"| `{code}`{star} | {meaning} | {advice[code]} |")
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    """Write the pages."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    SOURCES.write_text(sources_page(), encoding="utf-8")
    SCENARIOS.write_text(scenarios_page(), encoding="utf-8")
    EVENTS_PAGE.write_text(events_page(), encoding="utf-8")
    WARNINGS.write_text(warnings_page(), encoding="utf-8")
    DECISION_LOG.write_text(decision_log_page(), encoding="utf-8")
    POLICIES.write_text(policies_page(), encoding="utf-8")
    STORE.write_text(store_page(), encoding="utf-8")
    ARCHITECTURE.write_text(architecture_page(), encoding="utf-8")
    PROVIDERS.write_text(providers_page(), encoding="utf-8")
    for module in (command_line, error_codes, how_to, listeners, observed, pictures):
        module.main()
    socket_protocol.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
