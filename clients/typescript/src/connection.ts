/** One connection to the sidecar: lines out, lines in, for one request at a time. */
import { connect, type Socket } from "node:net";

import { LONGEST_REPLY, Unreachable } from "./protocol.js";

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket: start the daemon with `sidecar run`, or set SIDECAR_SOCKET",
  ECONNREFUSED: "nobody listens there: the daemon that made this socket is gone",
  EACCES: "no permission: join the socket's group (socket.group)",
  EAGAIN: "the daemon takes no more connections: it may be overloaded or stopped",
};

interface Waiting {
  resolve(line: string): void;
  reject(error: Unreachable): void;
}

export class Connection {
  readonly path: string;
  readonly #socket: Socket;
  #unread: Buffer[] = [];
  #size = 0;
  #lines: string[] = [];
  #waiting: Waiting | undefined;
  #broken: Unreachable | undefined;
  #used = false;
  #late = false;

  constructor(path: string) {
    this.path = path;
    this.#socket = connect({ path });
    this.#socket.on("data", (data: Buffer) => this.#feed(data));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      const hint = HINTS[error.code ?? ""] ?? error.message;
      this.#fail(new Unreachable(`${path}: ${hint}`, { cause: error }));
    });
    this.#socket.on("close", () => this.#fail(new Unreachable(`${path}: the sidecar closed the connection`)));
  }

  /** Whether it can be used no more. */
  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  /** Whether it has brought a reply before: then it may have lain idle for too long. */
  get isUsed(): boolean {
    return this.#used;
  }

  /** Whether it broke as no reply came in time. */
  get isLate(): boolean {
    return this.#late;
  }

  /** One line out, one in, `timeout` milliseconds at most. Rejects with `Unreachable`. */
  async ask(line: string, timeout: number): Promise<string> {
    this.send(line);
    const reply = await this.next(timeout);
    this.#used = true;
    return reply;
  }

  send(line: string): void {
    if (this.#broken !== undefined) throw this.#broken;
    this.#socket.write(line);
  }

  /** The next line; without a time-out, however long it takes. */
  next(timeout?: number): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#late = true;
        this.#fail(new Unreachable(`${this.path}: the sidecar did not answer in time`));
      };
      const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
      this.#waiting = {
        resolve: (found) => (clearTimeout(timer), resolve(found)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      };
    });
  }

  /** Let the process end though this connection is open; undone by `hold`. */
  release(): void {
    this.#socket.unref();
  }

  hold(): void {
    this.#socket.ref();
  }

  close(): void {
    this.#fail(new Unreachable(`${this.path}: the connection is closed`));
  }

  #feed(data: Buffer): void {
    let rest = data;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      this.#take(Buffer.concat([...this.#unread, rest.subarray(0, end)]).toString("utf8"));
      this.#unread = [];
      this.#size = 0;
      rest = rest.subarray(end + 1);
    }
    if (rest.length === 0) return;
    this.#unread.push(rest);
    this.#size += rest.length;
    if (this.#size > LONGEST_REPLY) this.#fail(new Unreachable(`what answers at ${this.path} is no sidecar`));
  }

  #take(line: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#lines.push(line);
    else waiting.resolve(line);
  }

  #fail(error: Unreachable): void {
    this.#broken ??= error;
    this.#socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#broken);
  }
}
