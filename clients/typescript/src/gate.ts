/** What stands before a protected call, whatever the framework: what is asked, what is answered. */
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

import { Refused, Unreachable, type Check, type Decision } from "./protocol.js";
import { Public, isReadAlike } from "./readings.js";

/**
 * How calls are checked.
 *
 * `cookie`: take the token from this cookie where `Authorization: Bearer` brings none.
 * `trustedProxies`: how many proxies of your own append to `X-Forwarded-For` before a request is
 * here; 0 takes the peer's address. `fail`: what happens where the sidecar is gone: `closed`: 503
 * with `Retry-After`; `open`: the call passes; or names of contexts: calls in these and in no others
 * pass. `routes`: send the sidecar method and path, so that its own `routes` add contexts.
 *
 * `public`: paths that need no token: exact ones, and `/static/*` for all below. `unchecked`: methods
 * that pass without being asked about; `preflight`: so do a browser's CORS preflights. The last two are
 * for handlers that distinguish methods: one that answers OPTIONS as it answers POST would be open.
 */
export interface Gate {
  readonly cookie?: string;
  readonly trustedProxies?: number;
  readonly fail?: "closed" | "open" | readonly string[];
  readonly routes?: boolean;
  readonly public?: readonly string[];
  readonly unchecked?: readonly string[];
  readonly preflight?: boolean;
}

/** A request as the server got it. `target` is the request line's, undecoded. */
export interface Incoming {
  readonly method: string;
  readonly target: string;
  readonly peer: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came: what `headers` has merged can be distinguished here. */
  readonly rawHeaders: readonly string[];
}

/** What the client gets instead of the handler's answer. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const LONGEST_AGENT = 1024;
/** Two `Authorization` as one: a proxy puts a comma between, which no token has. */
const AS_ONE = /^bearer [^,]*,|,[ \t]*bearer /i;
/** Header names by which frameworks run another method than the request's. */
const OVERRIDING = /^x[^a-z0-9](?:http[^a-z0-9])?method(?:[^a-z0-9]override)?$/i;
/** In a decoded query; PHP makes `_method` of `.method`, too. */
const METHOD_IN_QUERY = /[?&;]\s*[_.[]method/i;
const TITLES = {
  "step-up-required": "A stronger or fresher sign-in is required",
  "invalid-token": "A valid token is required",
  denied: "Access is denied",
  unavailable: "This cannot be decided now",
  "invalid-request": "The request is not valid",
  "unknown-context": "The context is not configured",
} as const;
type Kind = keyof typeof TITLES;

/** A gate whose settings were looked at. */
export interface Checked extends Omit<Gate, "public"> {
  readonly public: Public;
}

/** Throws TypeError where a setting is none: JavaScript would take a text for a collection. */
export function checked(gate: Gate): Checked {
  if (typeof gate.fail === "string" && gate.fail !== "closed" && gate.fail !== "open") {
    throw new TypeError("fail is 'closed', 'open' or an array of contexts");
  }
  if (gate.unchecked !== undefined && !Array.isArray(gate.unchecked)) {
    throw new TypeError("unchecked is an array of methods");
  }
  if (gate.preflight !== undefined && typeof gate.preflight !== "boolean") {
    throw new TypeError("preflight is true or false");
  }
  return { ...gate, public: new Public(gate.public ?? []) };
}

/**
 * What needs nobody to be asked: a path of two readings is refused, some calls pass.
 *
 * Whatever is decided by a path is decided after that.
 */
export function beforeAsking(gate: Checked, incoming: Incoming): Decision | Reply | undefined {
  const path = pathOf(incoming.target);
  if ((gate.routes !== false || !gate.public.isEmpty) && !isReadAlike(path)) {
    // Nobody is asked: `fail: "open"` must not let pass what would be refused anyway.
    return reply("invalid-request", 400, { detail: "servers read this path in different ways" });
  }
  if (gate.public.covers(path)) return PUBLIC;
  return passesUnasked(gate, incoming) ? UNCHECKED : undefined;
}

function passesUnasked(gate: Checked, incoming: Incoming): boolean {
  if (overrides(incoming)) return false; // nobody here knows which method the app will run
  return Boolean(gate.unchecked?.includes(incoming.method)) || (gate.preflight === true && isPreflight(incoming));
}

/** Whether a request is a CORS preflight: OPTIONS with one origin and one requested method. */
function isPreflight({ method, rawHeaders }: Incoming): boolean {
  const once = (name: string) => {
    const values = valuesOf(rawHeaders, name);
    return values.length === 1 && values[0] !== "";
  };
  return method === "OPTIONS" && once("origin") && once("access-control-request-method");
}

/** What `check` is called with; or the answer to a request that cannot be asked about. */
export function question(gate: Checked, incoming: Incoming, contexts: readonly string[]): Check | Reply {
  const credentials = valuesOf(incoming.rawHeaders, "authorization");
  if (credentials.length > 1 || credentials.some((value) => AS_ONE.test(value))) {
    return reply("invalid-request", 400, { detail: "Authorization comes more than once" });
  }
  const tokens = new Set(credentials.map(bearer).filter(Boolean));
  if (gate.cookie) for (const value of cookies(incoming.rawHeaders, gate.cookie)) tokens.add(value);
  if (tokens.size > 1) {
    // RFC 6750, section 2: the app might act on the one that was not checked.
    return reply("invalid-request", 400, { detail: "the request has more than one token" });
  }
  const [token = ""] = tokens;
  const path = pathOf(incoming.target);
  return {
    token,
    context: contexts,
    ip: clientAddress(gate, incoming),
    user_agent: plain(incoming.headers["user-agent"] ?? "").slice(0, LONGEST_AGENT),
    // The host is not sent: a client chooses it, and must not choose its route by it.
    ...(gate.routes === false ? {} : { method: overrides(incoming) ? "" : incoming.method, path }),
  };
}

/**
 * The client's address: as many steps from the right as there are trusted proxies.
 *
 * Each of these has appended whom it was called by; what stands left of that, the client wrote. A
 * request that came over fewer has bypassed them: then only the peer is known.
 */
export function clientAddress(gate: Checked, incoming: Incoming): string {
  const hops = valuesOf(incoming.rawHeaders, "x-forwarded-for").flatMap((value) => value.split(","));
  const trusted = gate.trustedProxies ?? 0;
  return address((trusted > 0 ? hops[hops.length - trusted] : undefined) ?? incoming.peer);
}

/** The answer where a decision lets nothing pass (RFC 9470, RFC 9457); undefined where it does. */
export function outcome(decision: Decision): Reply | undefined {
  if (decision.allowed) return undefined;
  const members: Record<string, unknown> = {};
  if (decision.message) members["detail"] = decision.message;
  if (decision.acrValues) members["acr_values"] = decision.acrValues;
  if (decision.maxAge !== undefined) members["max_age"] = decision.maxAge;
  if (decision.reasons.length > 0) members["reasons"] = decision.reasons;
  const kind = decision.decision === "step_up" ? "step-up-required" : "denied";
  return reply(kind, decision.status, members, decision.wwwAuthenticate);
}

/** What follows where there is no decision: an answer, or (`fail`) that the call passes. */
export function undecided(gate: Checked, contexts: readonly string[], error: Refused | Unreachable): Decision | Reply {
  if (error instanceof Unreachable || error.code === "overloaded") {
    if (isOpenFor(gate, contexts)) return UNREACHED;
    return reply("unavailable", 503, {}, "", error instanceof Refused ? error.retryAfter : 1);
  }
  const detail = error.detail ? { detail: error.detail } : {};
  switch (error.code) {
    case "invalid_token":
      return reply("invalid-token", error.status, detail, error.wwwAuthenticate);
    case "unavailable":
    case "refused":
      // It was asked, and `when_unknown` says that such a call must wait.
      return reply("unavailable", 503, detail, "", error.retryAfter);
    case "unknown_context":
      return reply("unknown-context", 400, detail);
    default:
      return reply("invalid-request", 400, detail);
  }
}

export function isReply(answer: Check | Decision | Reply): answer is Reply {
  return "body" in answer;
}

const UNREACHED: Decision = {
  decision: "allow",
  allowed: true,
  status: 200,
  session: "",
  subject: "",
  assurance: "",
  wwwAuthenticate: "",
  acrValues: "",
  maxAge: undefined,
  reasons: [],
  stepUpPending: false,
  message: "nobody was asked",
  decided: false,
};

const UNCHECKED: Decision = { ...UNREACHED, message: "this method is not asked about" };

/** Of a public path: of such a call nothing is known, and its request has no decision. */
export const PUBLIC: Decision = { ...UNREACHED, message: "this path is public" };

function isOpenFor(gate: Checked, contexts: readonly string[]): boolean {
  const fail = gate.fail ?? "closed";
  if (typeof fail === "string") return fail === "open";
  return contexts.length > 0 && contexts.every((context) => fail.includes(context));
}

function reply(kind: Kind, status: number, members: Members = {}, challenge = "", retryAfter = 0): Reply {
  const headers: Record<string, string> = {
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
  };
  // RFC 9110, section 15.5.2: a 401 has a challenge.
  if (status === 401 || challenge) headers["WWW-Authenticate"] = plain(challenge) || "Bearer";
  if (status === 503) headers["Retry-After"] = String(Math.max(1, retryAfter));
  const type = `urn:stepup-sidecar:problem:${kind}`;
  return { status, headers, body: JSON.stringify({ type, title: TITLES[kind], status, ...members }) };
}

type Members = Readonly<Record<string, unknown>>;

/** Whether the app may run another method than the request's: then it is not sent, and could be any. */
function overrides({ target, rawHeaders }: Incoming): boolean {
  const names = rawHeaders.filter((_, at) => at % 2 === 0);
  return names.some((name) => OVERRIDING.test(name)) || METHOD_IN_QUERY.test(decoded(target.replace(/^[^?]*/s, "")));
}

/** A query without its percent-encoding, byte by byte: what is not ASCII does not matter here. */
function decoded(query: string): string {
  return query.replace(/\+/g, " ").replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

function pathOf(target: string): string {
  // An absolute target (RFC 9112, section 3.2.2) is one of a proxy; its path is what the app serves.
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target);
  const rest = absolute === null ? target : target.slice(absolute[0].length);
  return rest.replace(/[?#].*$/s, "") || "/";
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
}

function bearer(credentials: string): string {
  const [, token] = /^bearer +(.*)$/i.exec(credentials.trim()) ?? [];
  return plain(token?.trim() ?? "");
}

function cookies(rawHeaders: readonly string[], name: string): string[] {
  const pairs = valuesOf(rawHeaders, "cookie").flatMap((line) => line.split(";"));
  return pairs
    .map((pair) => [pair, pair.indexOf("=")] as const)
    .filter(([pair, at]) => at >= 0 && pair.slice(0, at).trim() === name)
    .map(([pair, at]) => plain(unquoted(pair.slice(at + 1).trim())))
    .filter(Boolean);
}

/** The text without a quote at each end. No regular expression: a cookie of blanks would hold the loop. */
function unquoted(text: string): string {
  const begin = text.startsWith('"') ? 1 : 0;
  return text.slice(begin, text.length > begin && text.endsWith('"') ? -1 : undefined);
}

/** The text without what is not printable ASCII, so that nothing can be injected. */
function plain(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}

/** An address without port and brackets; empty for what is none (a unix socket's peer). */
function address(text: string): string {
  let found = text.trim().replace(/^"|"$/g, "");
  const bracketed = /^\[([^\]]*)\]/.exec(found);
  if (bracketed !== null) found = bracketed[1] ?? "";
  else if (found.split(":").length === 2) found = found.slice(0, found.indexOf(":"));
  found = found.replace(/%.*$/, "");
  return isIP(found) ? found.replace(/^::ffff:(?=\d+\.)/i, "") : "";
}
