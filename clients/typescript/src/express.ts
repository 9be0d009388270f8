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
import { isReply, outcome, question, undecided, type Gate, type Incoming, type Reply } from "./gate.js";
import { Refused, Unreachable, type Decision } from "./protocol.js";
import { untilLost } from "./streams.js";

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
 * `warn` is told, once a call, where nobody could be asked; default: `console.warn`.
 *
 * `recheck` and `patience` in seconds: how often an open stream is checked again though nothing was
 * told of it (its token may have expired), and how long it may live on with the sidecar gone.
 */
export interface StepUpOptions extends ClientOptions, Gate {
  readonly warn?: (message: string) => void;
  readonly recheck?: number;
  readonly patience?: number;
}

/** A `stepUp` of your own settings. */
export function makeStepUp(options: StepUpOptions = {}): StepUp {
  if (typeof options.fail === "string" && options.fail !== "closed" && options.fail !== "open") {
    throw new TypeError("fail is 'closed', 'open' or an array of contexts");
  }
  const client = new SidecarClient({ timeout: 2, ...options });
  const warn = options.warn ?? ((message: string) => console.warn(message));
  const contextsOf = new WeakMap<Request, readonly string[]>();
  const ask = (request: Request) =>
    judge(client, options, contextsOf.get(request) ?? [], incomingOf(request), warn);

  const stepUp = (...contexts: string[]): Middleware => {
    if (contexts.some((context) => typeof context !== "string")) {
      throw new TypeError('write stepUp("c1"), or stepUp() for routine calls');
    }
    return (request, response, next) => {
      contextsOf.set(request, contexts);
      ask(request).then((answer) => {
        if (isReply(answer)) {
          refuse(response, answer);
        } else {
          request.sidecar = answer;
          next();
        }
      }, next);
    };
  };
  return Object.assign(stepUp, {
    client,
    async untilLost(request: Request, response: ServerResponse): Promise<void> {
      const gone = new AbortController();
      response.once("close", () => gone.abort());
      if (response.destroyed) return;
      const { recheck = 30, patience = 10 } = options;
      const session = request.sidecar?.session ?? "";
      await untilLost(client, session, () => ask(request), { recheck, patience }, gone.signal);
    },
  });
}

/** With the usual settings: the socket at `SIDECAR_SOCKET`, and closed where the sidecar is gone. */
export const stepUp: StepUp = makeStepUp();

async function judge(
  client: SidecarClient,
  gate: Gate,
  contexts: readonly string[],
  incoming: Incoming,
  warn: (message: string) => void,
): Promise<Decision | Reply> {
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

function refuse(response: ServerResponse, reply: Reply): void {
  response.statusCode = reply.status;
  for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value);
  response.end(reply.body);
}
