// An Express app whose payments are challenged once something is wrong with their user.
//
//   npm install express PATH_TO/clients/typescript && node app.mjs
import { join } from "node:path";
import express from "express";
import { makeStepUp } from "stepup-sidecar/express";

const here = import.meta.dirname;
const trustedProxies = 0; // how many proxies of yours append to X-Forwarded-For
const path = process.env.SIDECAR_SOCKET ?? join(here, "sidecar.sock");
const stepUp = makeStepUp({ path, trustedProxies });

const app = express();
app.get("/", (_request, response) => response.sendFile(join(here, "browser", "index.html")));
app.use("/static", express.static(join(here, "browser")));
app.get("/accounts", stepUp(), (request, response) => response.json({ subject: request.sidecar.subject }));
app.post("/payments/:number", stepUp("c1"), (request, response) => {
  response.json({ paid: Number(request.params.number) });
});
app.listen(Number(process.env.PORT ?? 8080), "127.0.0.1");
