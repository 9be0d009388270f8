// What passes unasked in an Express app, before a running daemon: the tables are those of the Python
// middlewares and of the listener, in `TABLES`; `TOKEN` is one that the daemon takes.
import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";

import express from "express";
import { makeStepUp } from "stepup-sidecar/express";

const { TOKEN, SHORT, TABLES } = process.env;
const { unasked, unclear, clear } = JSON.parse(TABLES);

/** An app that is protected as a whole, while `use` runs. */
async function protectedBy(options, use, contexts = []) {
  const stepUp = makeStepUp({ warn: () => {}, ...options });
  const app = express();
  app.use(stepUp(...contexts));
  app.use((asked, response) => {
    response.json({ decided: asked.sidecar?.decided ?? null, subject: asked.sidecar?.subject ?? null });
  });
  const server = await new Promise((listening) => {
    const one = app.listen(0, "127.0.0.1", () => listening(one));
  });
  try {
    await use((method, path, headers = {}) => ask(server.address().port, method, path, headers));
  } finally {
    server.closeAllConnections();
    server.close();
    stepUp.client.close();
  }
}

function ask(port, method, path, headers) {
  return new Promise((found, failed) => {
    const asked = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => found({ status: answer.statusCode, headers: answer.headers, body: chunks.join("") }));
    });
    asked.on("error", failed);
    asked.end();
  });
}

test("the same calls pass unasked as behind a gateway and in the other middlewares", async () => {
  for (const { passes, target, method, fields, public: paths, unchecked, preflight } of unasked) {
    await protectedBy({ public: paths, unchecked, preflight }, async (call) => {
      const { status } = await call(method, target, Object.fromEntries(fields));
      // Without a token whoever is asked refuses; a path of two readings is refused before.
      assert.equal(status === 200, passes, `${method} ${target} ${JSON.stringify(fields)} ${status}`);
    });
  }
});

test("nothing passes unasked that was not chosen", async () => {
  const asks = { origin: "https://a.example", "access-control-request-method": "POST" };
  await protectedBy({}, async (call) => {
    for (const path of ["/", "/health", "/static/x"]) assert.equal((await call("GET", path)).status, 401);
    assert.equal((await call("OPTIONS", "/", asks)).status, 401);
  });
});

test("no path of two readings passes unasked, though nobody could be asked", async () => {
  const chosen = { public: ["/static/*", "/*"], unchecked: ["OPTIONS"], preflight: true, fail: "open" };
  for (const routes of [true, false]) {
    await protectedBy({ ...chosen, routes, path: `${SHORT}/nothing` }, async (call) => {
      for (const path of unclear) {
        for (const method of ["GET", "OPTIONS"]) assert.equal((await call(method, path)).status, 400, path);
      }
      for (const path of clear) assert.equal((await call("GET", path)).status, 200, path);
    });
  }
});

test("a public path is one as Express routes it, undecoded", async () => {
  await protectedBy({ public: ["/health", "/a b/*", "/été"] }, async (call) => {
    for (const path of ["/health", "/health?x", "/a%20b/", "/a%20b/c", "/%C3%A9t%c3%a9"]) {
      assert.deepEqual(JSON.parse((await call("GET", path)).body), { decided: null, subject: null }, path);
    }
    for (const path of ["/%68ealth", "/a%20b", "/%61%20b/c", "/a%20b/100%25", "/Health", "/health/", "/%61%20b/c/"]) {
      assert.equal((await call("GET", path)).status, 401, path);
    }
  });
});

test("a method that passes unasked has a decision that says so", async () => {
  const token = { authorization: `Bearer ${TOKEN}` };
  await protectedBy({ unchecked: ["PROPFIND"], public: ["/open"] }, async (call) => {
    assert.deepEqual(JSON.parse((await call("PROPFIND", "/pay", token)).body), { decided: false, subject: "" });
    assert.equal(JSON.parse((await call("GET", "/pay", token)).body).decided, true);
    assert.equal((await call("PROPFIND", "/pay", { "x-http-method-override": "POST" })).status, 401);
    assert.equal((await call("GET", "/open", { authorization: "Bearer none" })).status, 200);
  });
});

test("a preflight reaches the app, and the call that follows is asked about", async () => {
  const asks = { origin: "https://a.example", "access-control-request-method": "POST" };
  await protectedBy({ preflight: true }, async (call) => {
    assert.equal((await call("OPTIONS", "/pay", asks)).status, 200);
    for (const [method, headers] of [
      ["POST", asks],
      ["OPTIONS", {}],
      ["OPTIONS", { ...asks, origin: "" }],
      ["OPTIONS", { ...asks, origin: ["https://a.example", "https://b.example"] }],
    ]) {
      assert.equal((await call(method, "/pay", headers)).status, 401, `${method} ${JSON.stringify(headers)}`);
    }
  }, ["c1"]);
});

test("a stream of a public path lives as long as its client", async () => {
  const stepUp = makeStepUp({ public: ["/news"], recheck: 0.01 });
  const app = express();
  const ended = [];
  app.get("/news", stepUp(), async (asked, response) => {
    response.writeHead(200).write("1");
    await stepUp.untilLost(asked, response);
    ended.push(true);
    response.end();
  });
  const server = await new Promise((listening) => {
    const one = app.listen(0, "127.0.0.1", () => listening(one));
  });
  const leaving = new AbortController();
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/news`, { signal: leaving.signal });
  await answer.body.getReader().read();
  await Promise.all(Array.from({ length: 5 }, () => stepUp.client.check({ token: TOKEN })));
  assert.deepEqual(ended, []);
  leaving.abort();
  while (ended.length === 0) await new Promise((later) => setImmediate(later));
  server.closeAllConnections();
  server.close();
  stepUp.client.close();
});

test("a setting that is none is an error at once", () => {
  for (const wrong of [
    { public: "/health" },
    { public: ["health"] },
    { public: ["/*/b"] },
    { public: ["/a*"] },
    { public: ["/a/../b/*"] },
    { public: ["/a;b"] },
    { public: ["/a%20b"] },
    { public: ["/\u2025/*"] },
    { public: [7] },
    { unchecked: "OPTIONS" },
    { preflight: "no" },
    { fail: "opne" },
  ]) {
    assert.throws(() => makeStepUp(wrong), TypeError, JSON.stringify(wrong));
  }
});
