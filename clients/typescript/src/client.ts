/** A pooled client of the sidecar's local socket, of Node.js' own modules alone. */
import { Connection } from "./connection.js";
import { usualPath } from "./paths.js";
import {
  Refused,
  Unreachable,
  changeOf,
  checkRequest,
  decisionOf,
  decoded,
  encoded,
  matched,
  receiptOf,
  referred,
  type Change,
  type Check,
  type Decision,
  type Event,
  type Members,
  type Receipt,
} from "./protocol.js";

/** `timeout` in seconds: for a turn, and for connecting and the answer. */
export interface ClientOptions {
  readonly path?: string;
  readonly timeout?: number;
  readonly connections?: number;
}

/** Seconds that an answer may come later than the time-out that the daemon was given. */
const MARGIN = 1;

/**
 * Many calls at a time over at most `connections` connections; more wait for their turn.
 *
 * Every method rejects with `Unreachable` (nobody answers: recover) or `Refused` (the sidecar said
 * no: whoever asked must act). A request is sent a second time only where its connection had lain
 * idle and broke, and where twice is the same as once.
 */
export class SidecarClient {
  readonly #named: string;
  readonly #timeout: number;
  readonly #bound: number;
  readonly #idle: Connection[] = [];
  readonly #turns: (() => void)[] = [];
  #busy = 0;

  constructor(options: ClientOptions = {}) {
    this.#named = options.path || process.env["SIDECAR_SOCKET"] || "";
    this.#timeout = (options.timeout ?? 5) * 1000;
    this.#bound = options.connections ?? 16;
  }

  /** Where the sidecar is. Where nothing names it, that is looked at each time. */
  get path(): string {
    return this.#named || usualPath();
  }

  /** Ask whether a call may pass. */
  async check(check: Check): Promise<Decision> {
    return decisionOf(await this.#asked(checkRequest(check), this.#timeout, true));
  }

  /** Push an event; resolves once it is durable. */
  async event(event: Event): Promise<Receipt> {
    const request = { ...event, op: "event" };
    return receiptOf(await this.#asked(request, this.#timeout, Boolean(event.id)));
  }

  /** Push an event and wait, `within` seconds at most, until every live sidecar has it. */
  async eventEverywhere(event: Event, within = 5): Promise<Receipt> {
    const request = { ...event, op: "event", wait: "everywhere", timeout: within };
    return receiptOf(await this.#asked(request, (within + MARGIN) * 1000, Boolean(event.id)));
  }

  async ping(): Promise<void> {
    await this.#asked({ op: "ping" }, this.#timeout, true);
  }

  /**
   * Changes of these sessions' standing (default: of all that the sidecar serves), as they come.
   *
   * It holds a connection of its own until the loop is left, or `signal` is aborted. Rejects with
   * `Unreachable` where changes may have been missed: watch anew, and check again.
   */
  async *watch(sessions?: Iterable<string>, signal?: AbortSignal): AsyncGenerator<Change, void, void> {
    yield* await this.watching(sessions, signal);
  }

  /** As `watch`; resolves once it watches: what happens from now on will be reported. */
  async watching(sessions?: Iterable<string>, signal?: AbortSignal): Promise<AsyncGenerator<Change, void, void>> {
    const connection = new Connection(this.path);
    const leave = () => connection.close();
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave, { once: true });
    const done = () => (signal?.removeEventListener("abort", leave), leave());
    const which = sessions === undefined ? {} : { sessions: [...sessions] };
    const request = referred({ op: "watch", ...which });
    try {
      const line = await connection.ask(encoded(request), this.#timeout);
      accepted(matched(decoded(line, connection.path), request.ref, connection.path));
    } catch (error) {
      done();
      if (!signal?.aborted) throw error;
    }
    return this.#changes(connection, done, signal);
  }

  async *#changes(
    connection: Connection,
    done: () => void,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Change, void, void> {
    try {
      while (!signal?.aborted) {
        const change = changeOf(decoded(await connection.next(), connection.path));
        if (change !== undefined) yield change;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      done();
    }
  }

  /** Close what lies idle; the next call opens another. */
  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close();
  }

  async #asked(asked: Members, timeout: number, mayRepeat: boolean): Promise<Members> {
    const request = referred(asked);
    const line = encoded(request);
    await this.#turn();
    try {
      const before = this.#kept();
      if (before !== undefined) {
        try {
          return accepted(await this.#over(before, line, request.ref, timeout));
        } catch (error) {
          if (!(error instanceof Stale && mayRepeat)) throw error;
        }
      }
      return accepted(await this.#over(new Connection(this.path), line, request.ref, timeout));
    } finally {
      this.#next();
    }
  }

  async #over(connection: Connection, line: string, ref: string, timeout: number): Promise<Members> {
    const isOld = connection.isUsed;
    try {
      const reply = matched(decoded(await connection.ask(line, timeout), connection.path), ref, connection.path);
      connection.release();
      this.#idle.push(connection);
      return reply;
    } catch (error) {
      const isCut = connection.isBroken && !connection.isLate;
      connection.close(); // a reply that comes later would answer the next request
      if (isOld && isCut && error instanceof Unreachable) {
        throw new Stale(error.message, { cause: error });
      }
      throw error;
    }
  }

  #kept(): Connection | undefined {
    for (let one = this.#idle.pop(); one !== undefined; one = this.#idle.pop()) {
      if (one.isBroken) continue;
      one.hold();
      return one;
    }
    return undefined;
  }

  /** Wait for one of the connections to be free. */
  #turn(): Promise<void> {
    if (this.#busy < this.#bound) {
      this.#busy += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const turn = () => (clearTimeout(timer), resolve());
      const timer = setTimeout(() => {
        this.#turns.splice(this.#turns.indexOf(turn), 1);
        reject(new Unreachable(`${this.path}: all ${this.#bound} connections are busy`));
      }, this.#timeout);
      this.#turns.push(turn);
    });
  }

  #next(): void {
    const turn = this.#turns.shift();
    if (turn === undefined) this.#busy -= 1;
    else turn(); // the place is handed on
  }
}

/** A connection that had lain idle broke: another may be better. */
class Stale extends Unreachable {}

function accepted(reply: Members): Members {
  if (reply["ok"] !== true) throw new Refused(reply);
  return reply;
}
