// oidc-provider, the certified OpenID provider, as somebody would set it up for step-up.
//
//   PEERS=DIRECTORY_OF_NODE_MODULES node provider.mjs REDIRECT_URI...
//
// Logouts go to LOGOUT_URI. It prints its issuer on a line of its own once it listens. A client
// without a secret (PKCE) may use it: `app`. Where somebody must sign in, it redirects to
// /interaction/UID: GET says as JSON what is asked for (to a browser it gives a form), POST signs in
// with the form's `user` and `methods` (space-separated amr).
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { text } from "node:stream/consumers";

const entry = join(process.env.PEERS, "node_modules/oidc-provider/lib/index.js");
const { default: Provider, interactionPolicy } = await import(pathToFileURL(entry));

const API = "urn:app:payroll";
const ACRS = { "single-factor": ["pwd"], mfa: ["pwd", "otp"], phr: ["hwk", "user"] };

// Its own policy looks at `acr` only where the request's `claims` make it essential. RFC 9470 asks
// with `acr_values`, so a session that has none of them must sign in again.
const policy = interactionPolicy.base();
policy.get("login").checks.add(
  new interactionPolicy.Check("acr_values", "another sign-in is asked for", ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(" ") ?? [];
    const met = asked.length === 0 || asked.includes(oidc.session.acr);
    return met || oidc.result?.login ? interactionPolicy.Check.NO_NEED_TO_PROMPT
      : interactionPolicy.Check.REQUEST_PROMPT;
  }),
);

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  acrValues: Object.keys(ACRS),
  claims: { openid: ["sub", "acr", "amr", "auth_time", "sid"] },
  clients: [
    {
      client_id: "app",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code"],
      response_types: ["code"],
      redirect_uris: process.argv.slice(2),
      // What has `sid` be in its tokens (OpenID Connect Back-Channel Logout 1.0, section 2.2).
      backchannel_logout_session_required: true,
      backchannel_logout_uri: process.env.LOGOUT_URI ?? process.argv[2],
    },
  ],
  // RFC 9068, section 2.2.1: what a resource server judges a sign-in by is in the access token.
  extraTokenClaims: ({ oidc }) => {
    const { acr, amr, authTime, sid } = oidc.entities.AuthorizationCode;
    return { acr, amr, auth_time: authTime, sid };
  },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => API,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "openid",
        audience: "payroll",
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  // It posts logouts to no loopback address by itself, and here the sidecars have no other.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  // A page redeems its code by a call from its own origin.
  clientBasedCORS: () => true,
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  interactions: { policy, url: (_ctx, { uid }) => `/interaction/${uid}` },
  // A first-party app: nobody is asked whether it may.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({
      accountId: oidc.session.accountId,
      clientId: oidc.client.clientId,
    });
    grant.addOIDCScope("openid");
    grant.addResourceScope(API, "openid");
    await grant.save();
    return grant;
  },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
});

provider.on("backchannel.error", (_ctx, error) => console.error(`backchannel: ${error.message}: ${error.cause}`));

async function interaction(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  if (request.method !== "POST") {
    const { acr_values, max_age } = params;
    if (request.headers.accept?.includes("text/html")) {
      response.setHeader("Content-Type", "text/html");
      response.end('<form method="post"><input name="user"><input name="methods"><button>Sign in</button></form>');
      return;
    }
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ prompt: prompt.name, reasons: prompt.reasons, acr_values, max_age }));
    return;
  }
  const form = new URLSearchParams(await text(request));
  const amr = form.get("methods").split(" ");
  const [acr] = Object.entries(ACRS).find(([, methods]) => `${methods}` === `${amr}`);
  const login = { accountId: form.get("user"), acr, amr };
  await provider.interactionFinished(request, response, { login });
}

const others = provider.callback();
server.on("request", (request, response) => {
  if (!request.url.startsWith("/interaction/")) {
    others(request, response);
    return;
  }
  interaction(request, response).catch((error) => {
    response.statusCode = 400;
    response.end(String(error));
  });
});
console.log(issuer);
