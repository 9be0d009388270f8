// Against a running daemon: `TOKEN` of a session `SESSION` that policies mark in segment "restricted".
import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { test } from "node:test";
import { Refused, SidecarClient, Unreachable } from "stepup-sidecar";
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

test("what is wrong with an event is told by its field", async () => {
  const wrong = { type: "risk-level-change", subject: { user: "u" }, data: { current_level: "SOME" } };
  await assert.rejects(client.event(wrong), (error) => error instanceof Refused && error.field === "data.current_level");
  const long = { ...marking, data: { segment: "x".repeat(70_000) } };
  await assert.rejects(client.event(long), (error) => error instanceof Refused && error.code === "too_large");
});

test("a connection that broke while it lay idle is replaced", async () => {
  let connections = 0;
  const once = (socket) => {
    connections += 1;
    socket.once("data", () => socket.end('{"ok":true}\n'));
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
    socket.on("data", () => (++requests === 1 ? socket.write('{"ok":true}\n') : socket.destroy()));
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

const kind = (socket) => {
  const answer = JSON.stringify({ ok: true, decision: "allow", status: 200, session: "s" });
  socket.on("data", (lines) => socket.write(`${answer}\n`.repeat(lines.toString().split("\n").length - 1)));
};

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
