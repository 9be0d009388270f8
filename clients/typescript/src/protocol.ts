/**
 * The local socket's protocol, without I/O: request lines out, replies in.
 *
 * One JSON object a line, at most 64 KiB; one reply line for each request line, in order. Each
 * request has a `ref` that its reply repeats, so that a reply to another request is an error.
 */

export const DEFAULT_PATH = "/run/sidecar/sidecar.sock";
export const LONGEST_LINE = 65_536;
export const LONGEST_REPLY = 1 << 20;

/** Why: the policy that asks, the signal that caused it, and both in words. */
export interface Reason {
  readonly policy: string;
  readonly signal: string;
  readonly text: string;
}

/** A call to be judged. What is empty is not sent. */
export interface Check {
  readonly token: string;
  readonly context?: string | readonly string[];
  readonly method?: string;
  readonly host?: string;
  readonly path?: string;
  readonly ip?: string;
  readonly user_agent?: string;
}

/**
 * The answer to a check. `status` and `wwwAuthenticate` are what the app should answer.
 *
 * `decided` is false where nobody was asked: the sidecar was gone, and the app is configured to let
 * such calls pass.
 */
export interface Decision {
  readonly decision: string;
  readonly allowed: boolean;
  readonly status: number;
  readonly session: string;
  readonly subject: string;
  readonly assurance: string;
  readonly wwwAuthenticate: string;
  readonly acrValues: string;
  readonly maxAge: number | undefined;
  readonly reasons: readonly Reason[];
  readonly stepUpPending: boolean;
  readonly message: string;
  readonly decided: boolean;
}

/** An event: CAEP's names and fields. `time` in seconds since the epoch. */
export interface Event {
  readonly type: string;
  readonly subject: { readonly user?: string; readonly device?: string; readonly session?: string };
  readonly data?: Readonly<Record<string, unknown>>;
  readonly id?: string;
  readonly time?: number;
  readonly source?: string;
}

/** An event is durable. `settled`: undefined unless it was asked to wait for every sidecar. */
export interface Receipt {
  readonly id: string;
  readonly duplicate: boolean;
  readonly spooled: boolean;
  readonly settled: boolean | undefined;
}

/** A session's standing became `step_up`, `revoked` or `clear`. */
export interface Change {
  readonly session: string;
  readonly standing: string;
  readonly contexts: readonly string[];
  readonly reasons: readonly Reason[];
}

export type Members = Readonly<Record<string, unknown>>;

/** The HTTP status of a refusal that names none; of any other code it is 400. */
const STATUS: Readonly<Record<string, number>> = {
  invalid_token: 401,
  not_allowed: 403,
  overloaded: 503,
  unavailable: 503,
  refused: 503,
};

/**
 * The sidecar answered that it will not: whoever sent the request must act.
 *
 * `code` is the contract's (`invalid_event`, `invalid_token`, ...), `field` what is to blame, if any;
 * `status` and `wwwAuthenticate` what the app should answer where a check was refused.
 */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;
  readonly field: string;
  readonly detail: string;
  readonly status: number;
  readonly retryAfter: number;
  readonly wwwAuthenticate: string;

  constructor(reply: Members) {
    const code = text(reply, "error") || "refused";
    const field = text(reply, "field");
    const detail = text(reply, "message");
    super([code, field, detail].filter(Boolean).join(": "));
    this.code = code;
    this.field = field;
    this.detail = detail;
    this.status = whole(reply, "status") ?? STATUS[code] ?? 400;
    this.retryAfter = whole(reply, "retry_after") ?? 1;
    this.wwwAuthenticate = text(reply, "www_authenticate");
  }
}

/** There is no sidecar at the socket, or it is too slow: the environment must recover. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** The reply was to another request, so that nothing is known of this one. The connection is dropped. */
export class Mismatched extends Unreachable {}

let requests = 0;

/** A request with a `ref` that no other one of this process has. */
export function referred(request: Members): Members & { readonly ref: string } {
  requests += 1;
  return { ...request, ref: `${process.pid.toString(36)}-${requests.toString(36)}` };
}

/**
 * The reply, if it is to the request with this `ref`; throws `Mismatched` where it is to another.
 *
 * A refusal without any `ref` concerns the whole connection: throws it as `Refused`.
 */
export function matched(reply: Members, ref: string, path: string): Members {
  if (reply["ref"] === ref) return reply;
  if (reply["ref"] === undefined && reply["ok"] === false) throw new Refused(reply);
  throw new Mismatched(`what came from ${path} answers another request`);
}

/** A request line. Throws `Refused` (`too_large`) for one that the daemon would not take. */
export function encoded(request: Members): string {
  const line = JSON.stringify(request) + "\n";
  if (Buffer.byteLength(line) > LONGEST_LINE) {
    const message = `a request has at most ${LONGEST_LINE} bytes`;
    throw new Refused({ error: "too_large", message, status: 400 });
  }
  return line;
}

export function checkRequest(check: Check): Members {
  const given = Object.entries(check).filter(([, value]) => value !== undefined && value.length > 0);
  return { op: "check", ...Object.fromEntries(given), token: check.token };
}

/** A reply. Throws `Unreachable` for what no sidecar would say. */
export function decoded(line: string, path: string): Members {
  try {
    const reply: unknown = JSON.parse(line);
    if (isMembers(reply)) return reply;
  } catch {
    // As below: it is no sidecar that speaks like this.
  }
  throw new Unreachable(`what answers at ${path} is no sidecar`);
}

/** The reply to a check. What is no clear permission is none. */
export function decisionOf(reply: Members): Decision {
  const decision = text(reply, "decision") || "deny";
  return {
    decision,
    allowed: decision === "allow",
    status: whole(reply, "status") ?? 403,
    session: text(reply, "session"),
    subject: text(reply, "subject"),
    assurance: text(reply, "assurance"),
    wwwAuthenticate: text(reply, "www_authenticate"),
    acrValues: text(reply, "acr_values"),
    maxAge: whole(reply, "max_age"),
    reasons: reasonsOf(reply),
    stepUpPending: reply["step_up_pending"] === true,
    message: text(reply, "message"),
    decided: true,
  };
}

export function receiptOf(reply: Members): Receipt {
  const settled = reply["settled"];
  return {
    id: text(reply, "id"),
    duplicate: reply["duplicate"] === true,
    spooled: reply["spooled"] === true,
    settled: typeof settled === "boolean" ? settled : undefined,
  };
}

/** What a watcher is sent; undefined for what a newer sidecar may say besides. */
export function changeOf(line: Members): Change | undefined {
  if (line["event"] !== "standing") return undefined;
  const contexts = Array.isArray(line["contexts"]) ? line["contexts"].map(String) : [];
  return {
    session: text(line, "session"),
    standing: text(line, "standing"),
    contexts,
    reasons: reasonsOf(line),
  };
}

function reasonsOf(reply: Members): readonly Reason[] {
  const reasons = Array.isArray(reply["reasons"]) ? reply["reasons"].filter(isMembers) : [];
  return reasons.map((why) => ({
    policy: text(why, "policy"),
    signal: text(why, "signal"),
    text: text(why, "text"),
  }));
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(reply: Members, name: string): string {
  const value = reply[name];
  return typeof value === "string" ? value : "";
}

function whole(reply: Members, name: string): number | undefined {
  const value = reply[name];
  return typeof value === "number" && Number.isInteger(value) ? value : undefined;
}
