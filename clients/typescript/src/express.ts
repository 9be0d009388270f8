/**
 * Protect a handler in one line, in Express (4 and 5) and whatever has its middleware's form:
 *
 *     app.post("/payments/:number", stepUp("c1"), pay);
 *
 * The decision is at `request.sidecar`. Without contexts it is a routine call: it passes while the
 * session lives, also where a step-up is pending.
 */
import type { IncomingMessage, ServerResponse } from "node:http";

import { SidecarClient, type ClientOptions } from "./client.js";
import {
  PUBLIC,
  beforeAsking,
  checked,
  isReply,
  outcome,
  question,
  undecided,
  type Checked,
  type Gate,
  type Incoming,
  type Reply,
} from "./gate.js";
import { Refused, Unreachable, type Decision } from "./protocol.js";
import { pause, untilLost } from "./streams.js";

declare module "node:http" {
  interface IncomingMessage {
    /** What the sidecar said of this call. */
    sidecar?: Decision;
  }
}

export type Request = IncomingMessage & { originalUrl?: string };

export type Middleware = (
  request: Request,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

export interface StepUp {
  (...contexts: string[]): Middleware;
  /** The client that it asks. */
  readonly client: SidecarClient;
  /**
   * For a long-lived stream: resolves once the call that let it begin would pass no more, or its
   * client has gone.
   */
  untilLost(request: Request, response: ServerResponse): Promise<void>;
}

/**
 * `warn` is called, once a call, where nobody could be asked; default: `console.warn`.
 *
 * `recheck` and `patience` in seconds: how often an open stream is checked again though nothing was
 * informed of it (its token may have expired), and how long it may live on with the sidecar gone.
 */
export interface StepUpOptions extends ClientOptions, Gate {
  readonly warn?: (message: string) => void;
  readonly recheck?: number;
  readonly patience?: number;
}

/** What one `stepUp` has demanded of a request, also where an inner one has demanded less. */
interface Guard {
  readonly contexts: Set<string>;
  /** Of the latest call that passed; undefined before. */
  session: string | undefined;
  ask(): Promise<Decision | Reply>;
  /** Resolves once the call would not pass this guard any more, or on the signal. */
  untilLost(gone: AbortSignal): Promise<void>;
}

/** Every guard that a request has come by: those of several settings, too, by their clients. */
const guardsOf = new WeakMap<Request, Map<SidecarClient, Guard>>();

/** A `stepUp` of your own settings. */
export function makeStepUp(options: StepUpOptions = {}): StepUp {
  const gate = checked(options);
  const client = new SidecarClient({ timeout: 2, ...options });
  const warn = options.warn ?? ((message: string) => console.warn(message));
  const { recheck = 30, patience = 10 } = options;

  const guard = (request: Request, contexts: readonly string[]): Guard => {
    const guards = guardsOf.get(request) ?? new Map<SidecarClient, Guard>();
    guardsOf.set(request, guards);
    const all = guards.get(client)?.contexts ?? new Set<string>();
    for (const context of contexts) all.add(context);
    const ask = () => judge(client, gate, [...all], incomingOf(request), warn);
    const made: Guard = {
      contexts: all,
      session: undefined,
      async ask() {
        const answer = await ask();
        if (!isReply(answer)) made.session = answer.session;
        return answer;
      },
      async untilLost(gone) {
        // Of a call that passed unasked there is no session to lose, but it may not pass again.
        while (!made.session) {
          if (isReply(await made.ask())) return;
          if (!made.session) await pause(recheck, gone);
          if (gone.aborted) return;
        }
        await untilLost(client, made.session, ask, { recheck, patience }, gone);
      },
    };
    guards.set(client, made);
    return made;
  };

  const stepUp = (...contexts: string[]): Middleware => {
    if (contexts.some((context) => typeof context !== "string")) {
      throw new TypeError('write stepUp("c1"), or stepUp() for routine calls');
    }
    return (request, response, next) => {
      guard(request, contexts)
        .ask()
        .then((answer) => {
          // Answered by somebody else meanwhile, or its client has gone: nothing is left to do.
          if (isOver(response)) return;
          if (isReply(answer)) {
            refuse(response, answer);
          } else {
            if (answer !== PUBLIC) request.sidecar = answer;
            next();
          }
        })
        .catch((error: unknown) => {
          if (!isOver(response)) next(error);
        });
    };
  };
  return Object.assign(stepUp, {
    client,
    async untilLost(request: Request, response: ServerResponse): Promise<void> {
      const gone = new AbortController();
      response.once("close", () => gone.abort());
      if (response.destroyed) return;
      if (!guardsOf.has(request)) guard(request, []);
      const guards = [...(guardsOf.get(request)?.values() ?? [])];
      try {
        await Promise.race(guards.map((one) => one.untilLost(gone.signal)));
      } finally {
        gone.abort();
      }
    },
  });
}

/** With the usual settings: the socket at `SIDECAR_SOCKET`, and closed where the sidecar is gone. */
export const stepUp: StepUp = makeStepUp();

async function judge(
  client: SidecarClient,
  gate: Checked,
  contexts: readonly string[],
  incoming: Incoming,
  warn: (message: string) => void,
): Promise<Decision | Reply> {
  const found = beforeAsking(gate, incoming);
  if (found !== undefined) return found;
  const asked = question(gate, incoming, contexts);
  if (isReply(asked)) return asked;
  try {
    const decision = await client.check(asked);
    return outcome(decision) ?? decision;
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    const answer = undecided(gate, contexts, error);
    const names = contexts.join(",") || "routine";
    if (error instanceof Unreachable || error.code === "overloaded") {
      const fate = isReply(answer) ? "is turned away" : "passes unchecked";
      warn(`stepup-sidecar: a call ${fate} (${names}): ${error.message}`);
    }
    return answer;
  }
}

function incomingOf(request: IncomingMessage & { originalUrl?: string }): Incoming {
  return {
    method: request.method ?? "GET",
    target: request.originalUrl ?? request.url ?? "/",
    peer: request.socket.remoteAddress ?? "",
    headers: request.headers,
    rawHeaders: request.rawHeaders,
  };
}

/** Whether nothing can be answered any more: it was, or there is nobody. */
function isOver(response: ServerResponse): boolean {
  return response.headersSent || response.writableEnded || response.destroyed;
}

function refuse(response: ServerResponse, reply: Reply): void {
  response.statusCode = reply.status;
  for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value);
  response.end(reply.body);
}
