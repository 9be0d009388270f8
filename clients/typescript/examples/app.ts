// An Express app whose sensitive handlers are protected in one line each.
//
//   npm install && npm run build && npm run examples
//   SIDECAR_SOCKET=/run/sidecar/sidecar.sock node dist-examples/app.js
import express from "express";
import { stepUp } from "stepup-sidecar/express";

const app = express();

// A routine call: it passes while the session lives.
app.get("/news", stepUp(), (request, response) => {
  response.json({ reader: request.sidecar?.subject, pending: request.sidecar?.stepUpPending });
});

// A sensitive one: challenged once something about the session has changed.
app.post("/payments/:number", stepUp("c1"), (request, response) => {
  response.json({ paid: request.params["number"], by: request.sidecar?.subject });
});

// A long-lived stream, ended when its session loses its standing.
app.get("/prices", stepUp("c1"), async (request, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write("data: 1\n\n");
  await stepUp.untilLost(request, response);
  response.end();
});

const server = app.listen(Number(process.env["PORT"] ?? 8080), "127.0.0.1", () => {
  const address = server.address();
  console.log(typeof address === "object" ? `http://127.0.0.1:${address?.port}` : address);
});
