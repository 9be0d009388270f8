// Against a running daemon: `TOKEN` of a session `SESSION` that policies mark in segment "restricted".
import assert from "node:assert/strict";
import { createServer as createHttpServer, get } from "node:http";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { Mismatched, Refused, SidecarClient, Unreachable } from "stepup-sidecar";
import { makeStepUp } from "stepup-sidecar/express";

const { TOKEN, SESSION, SHORT } = process.env;
const client = new SidecarClient();
const marking = { type: "network-change", subject: { session: SESSION }, data: { segment: "restricted" } };

/** A socket that answers as `serve` says, while `use` runs. */
async function standIn(name, serve, use) {
  const path = `${SHORT}/${name}`;
  const open = new Set();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise((listening) => server.listen(path, listening));
  const away = () => {
    for (const socket of open) socket.destroy();
    server.close();
  };
  try {
    await use(path, away);
  } finally {
    away();
  }
}

/** A promise, and what resolves it. */
function deferred() {
  let resolve;
  const promise = new Promise((resolved) => (resolve = resolved));
  return { promise, resolve };
}

/** Answer each line with what `reply` makes of the request; undefined: with nothing. */
function serving(socket, reply) {
  createInterface({ input: socket }).on("line", (line) => {
    const { ref, ...request } = JSON.parse(line);
    const said = reply(request);
    if (said !== undefined) socket.write(`${JSON.stringify({ ref, ...said })}\n`);
  });
}

test("many calls at a time each get their own answer", async () => {
  const contexts = Array.from({ length: 100 }, (_, at) => (at % 2 ? "c1" : ""));
  const few = new SidecarClient({ connections: 3 });
  const decisions = await Promise.all(contexts.map((context) => few.check({ token: TOKEN, context })));
  assert.ok(decisions.every((one) => one.allowed && one.session === SESSION && one.decided));
  await assert.rejects(few.check({ token: "none" }), (error) => error instanceof Refused && error.code === "invalid_token");
  assert.ok((await few.check({ token: TOKEN })).allowed);
  few.close();
});

test("a watcher hears of a mark that everybody knows, and leaves", async () => {
  const leaving = new AbortController();
  const changes = client.watch([SESSION], leaving.signal);
  const first = changes.next();
  const receipt = await client.eventEverywhere({ ...marking, id: "mark-once" });
  assert.deepEqual([receipt.id, receipt.duplicate, receipt.settled], ["mark-once", false, true]);
  const { value } = await first;
  assert.deepEqual([value.session, value.standing], [SESSION, "step_up"]);
  const next = changes.next();
  leaving.abort();
  assert.equal((await next).done, true);
  assert.equal((await client.event({ ...marking, id: "mark-once" })).duplicate, true);
});

test("a marked context is challenged, with why", async () => {
  const decision = await client.check({ token: TOKEN, context: ["c1"] });
  assert.equal(decision.decision, "step_up");
  assert.equal(decision.status, 401);
  assert.match(decision.wwwAuthenticate, /insufficient_user_authentication/);
  assert.equal(decision.acrValues, "mfa");
  assert.equal(decision.reasons[0].policy, "segment");
  assert.ok((await client.check({ token: TOKEN })).stepUpPending);
});

test("what is wrong with an event is reported by its field", async () => {
  const wrong = { type: "risk-level-change", subject: { user: "u" }, data: { current_level: "SOME" } };
  await assert.rejects(client.event(wrong), (error) => error instanceof Refused && error.field === "data.current_level");
  const long = { ...marking, data: { segment: "x".repeat(70_000) } };
  await assert.rejects(client.event(long), (error) => error instanceof Refused && error.code === "too_large");
});

test("a connection that broke while it lay idle is replaced", async () => {
  let connections = 0;
  const once = (socket) => {
    connections += 1;
    socket.once("data", (line) => socket.end(`${JSON.stringify({ ok: true, ref: JSON.parse(line).ref })}\n`));
  };
  await standIn("idle", once, async (path) => {
    const other = new SidecarClient({ path });
    await other.ping();
    await other.ping();
    assert.equal(connections, 2);
  });
});

test("an event without an id is not sent twice", async () => {
  let requests = 0;
  const dying = (socket) => {
    serving(socket, () => (++requests === 1 ? { ok: true } : void socket.destroy()));
  };
  await standIn("dying", dying, async (path) => {
    const other = new SidecarClient({ path });
    await other.ping();
    await assert.rejects(other.event(marking), Unreachable);
    assert.equal(requests, 2);
  });
});

test("who does not answer, is none, or is not there, is unreachable", async () => {
  await standIn("mute", () => {}, async (path) => {
    const other = new SidecarClient({ path, timeout: 0.05, connections: 1 });
    const both = await Promise.allSettled([other.ping(), other.ping()]);
    assert.ok(both.every(({ reason }) => reason instanceof Unreachable));
  });
  await standIn("other", (socket) => socket.write("220 mail\n"), async (path) => {
    await assert.rejects(new SidecarClient({ path }).ping(), /is no sidecar/);
  });
  await assert.rejects(new SidecarClient({ path: `${SHORT}/nothing` }).ping(), /no such socket/);
});

test("a reply to another request is an error, and its connection is dropped", async () => {
  let connections = 0;
  const mixing = (socket) => {
    connections += 1;
    let earlier = null; // each is answered with the ref of the one before
    serving(socket, ({ op }) => ({ ...ALLOW, ...(earlier === null ? {} : { ref: earlier }), was: (earlier = op) }));
  };
  await standIn("mixing", mixing, async (path) => {
    const other = new SidecarClient({ path });
    assert.ok((await other.check({ token: "t" })).allowed);
    await assert.rejects(other.check({ token: "t" }), Mismatched);
    assert.ok((await other.check({ token: "t" })).allowed);
    assert.equal(connections, 2);
  });
});

const ALLOW = { ok: true, decision: "allow", status: 200, session: "s" };
const kind = (socket) => serving(socket, () => ALLOW);

/** The address of an HTTP server that `handle` answers for, while `use` runs. */
async function served(handle, use) {
  const server = createHttpServer(handle);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    await use(`http://127.0.0.1:${server.address().port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("a call that was answered meanwhile is left alone, and nothing runs for it", async () => {
  await standIn("hangs", () => {}, async (path) => {
    const warned = deferred();
    const stepUp = makeStepUp({ path, timeout: 0.2, warn: warned.resolve });
    const nexts = [];
    const late = async (url) => {
      const answer = await fetch(url);
      assert.deepEqual([answer.status, await answer.text()], [503, "too late"]);
      await warned.promise;
      await new Promise(setImmediate);
      assert.deepEqual(nexts, []);
    };
    await served((request, response) => {
      stepUp("c1")(request, response, (error) => nexts.push(error));
      response.writeHead(503).end("too late"); // as a time-out middleware does
    }, late);
  });
});

test("a handler does not run for a client that has gone meanwhile", async () => {
  const asked = deferred();
  const answer = deferred();
  const slow = (socket) => createInterface({ input: socket }).on("line", async (line) => {
    asked.resolve();
    await answer.promise;
    socket.write(`${JSON.stringify({ ...ALLOW, ref: JSON.parse(line).ref })}\n`);
  });
  await standIn("slow", slow, async (path) => {
    const stepUp = makeStepUp({ path, connections: 1 });
    const nexts = [];
    const gone = deferred();
    const leaving = new AbortController();
    await served((request, response) => {
      response.once("close", gone.resolve);
      stepUp()(request, response, (error) => nexts.push(error));
    }, async (url) => {
      const left = assert.rejects(fetch(url, { signal: leaving.signal }));
      await asked.promise;
      leaving.abort();
      await left;
      await gone.promise;
      answer.resolve();
      await stepUp.client.ping(); // its turn comes after the other one's
      assert.deepEqual(nexts, []);
    });
  });
});

for (const another of [false, true]) {
  test(`a stream ends when what an outer ${another ? "guard of other settings" : "stepUp"} demands is lost`, async () => {
    let marked = false;
    const asked = [];
    const marking = (socket) => serving(socket, ({ op, context = [] }) => {
      if (op === "check") asked.push(context);
      const lost = marked && context.includes("c1");
      return lost ? { ...ALLOW, decision: "step_up", status: 401 } : ALLOW;
    });
    await standIn("marking", marking, async (path) => {
      const outer = makeStepUp({ path, recheck: 0.05 });
      const inner = another ? makeStepUp({ path, recheck: 0.05 }) : outer;
      await served((request, response) =>
        outer("c1")(request, response, () =>
          inner()(request, response, async () => {
            response.write("1");
            await inner.untilLost(request, response);
            response.end("2");
          }),
        ), async (url) => {
        const chunks = (await fetch(url)).body.getReader();
        await chunks.read();
        marked = true;
        assert.equal(new TextDecoder().decode((await chunks.read()).value), "2");
        assert.deepEqual(asked.slice(0, 2), [["c1"], another ? [] : ["c1"]]);
      });
    });
  });
}

test("a path that servers read in different ways is refused, and nobody is asked", async () => {
  const stepUp = makeStepUp({ path: `${SHORT}/nothing`, fail: "open", warn: () => {} });
  const app = createHttpServer((request, response) => stepUp("c1")(request, response, () => response.end("in")));
  await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
  const statusOf = (path) =>
    new Promise((found, failed) => {
      const asked = get({ port: app.address().port, host: "127.0.0.1", path, agent: false }, (answer) => {
        answer.resume();
        found(answer.statusCode);
      });
      asked.on("error", failed);
    });
  const unclear = ["/pay/../x", "/pay/%2e%2E/x", "/pay/.%2e", "/pay/.", "//pay/7", "/pay//7", "/pay%2f7", "/pay/%5c../x"];
  for (const path of unclear) assert.equal(await statusOf(path), 400, path);
  for (const path of ["/pay/7", "/pay/", "/.a/b..?x=/../y//z"]) assert.equal(await statusOf(path), 200, path);
  app.close();
});

/** A stream of an app whose sidecar goes away once it has begun. */
async function streamed(options, then) {
  await standIn("away", kind, async (path, away) => {
    const stepUp = makeStepUp({ path, patience: 0.1, warn: () => {}, ...options });
    const app = createHttpServer((request, response) =>
      stepUp("c1")(request, response, async () => {
        response.write("1");
        await stepUp.untilLost(request, response);
        response.end("2");
      }),
    );
    await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
    const leaving = new AbortController();
    const answer = await fetch(`http://127.0.0.1:${app.address().port}/`, { signal: leaving.signal });
    const chunks = answer.body.getReader();
    await chunks.read();
    away();
    await then(chunks);
    leaving.abort();
    app.closeAllConnections();
    app.close();
  });
}

test("a stream ends when its sidecar stays away", async () => {
  await streamed({}, async (chunks) => {
    assert.equal(new TextDecoder().decode((await chunks.read()).value), "2");
  });
});

test("a stream lives on where its call would pass unasked", async () => {
  await streamed({ fail: ["c1"] }, async (chunks) => {
    const ended = chunks.read().then(() => true, () => true);
    const lives = new Promise((later) => setTimeout(later, 400, false));
    assert.equal(await Promise.race([ended, lives]), false);
  });
});

test("cookies are read character by character, whatever is in them", async () => {
  const stepUp = makeStepUp({ cookie: "token" });
  const app = createHttpServer((request, response) => stepUp()(request, response, () => response.end("passed")));
  await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${app.address().port}/`;
  const get = (cookie) => fetch(url, { headers: { cookie } });
  // A reader that goes back would need hours for the blanks.
  for (const cookie of [`a${" ".repeat(12_000)}b`, `token=${" ".repeat(12_000)}b`]) {
    assert.equal((await get(cookie)).status, 401);
  }
  for (const spelled of [TOKEN, `"${TOKEN}"`, `  "${TOKEN}"  `]) {
    assert.equal((await get(`other=1;  token = ${spelled}`)).status, 200);
  }
  app.closeAllConnections();
  app.close();
});
