// The browser's half of a step-up (RFC 9470): a module without dependencies and without a build.
//
//   import { StepUp } from "./step-up.js";
//   const stepUp = new StepUp({ issuer: "https://login.example.com", clientId: "payroll" });
//   const repeated = await stepUp.start();            // once, when a page opens
//   const answer = await stepUp.fetch("/payments/7", { method: "POST" });
//
// A call that is challenged is kept in this tab, its user is sent to the provider with the
// `acr_values` and `max_age` of the challenge, and `start` repeats it when they are back. The page is
// a public client (authorization code with PKCE) whose token stays in this tab's session storage,
// where any script of the page can read it. A page with a backend of its own keeps tokens there: with
// `backend: "/sign-in"` in place of the provider that address is opened, and does the rest
// (examples/starter/flask-bff).
//
// Only calls whose body is a text are kept, and one at a time: others that are challenged while the page
// is being left are rejected. Where a call is not repeated (another user has signed in, the provider
// refused, it took too long), `start` says so by an error. Microsoft's claims challenge is left to MSAL.

const KEY = "step-up";
const LIFETIME = 600; // seconds that a sign-in may take

/** What a 401 asks for: `{ error, acr_values, max_age }`; null where the answer is no challenge. */
export function challengeOf(response) {
  const header = response.status === 401 ? response.headers.get("WWW-Authenticate") : null;
  const bearer = /(?:^|,\s*)(?:Bearer|DPoP)(?=\s|,|$)(.*)/i.exec(header ?? "");
  if (bearer === null) return null;
  const answered = {};
  for (const [, name, quoted, bare] of bearer[1].matchAll(/(?:^|,)\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
    answered[name.toLowerCase()] ??= quoted?.replace(/\\(.)/g, "$1") ?? bare;
  }
  return answered;
}

export class StepUp {
  #settings;
  #storage;
  #leaving = false;

  /** `redirectUri` is a page that calls `start`; `parameters` go into each authorization request. */
  constructor(settings, storage = sessionStorage) {
    // A page that is shown again as it was left (back) has not gone anywhere.
    addEventListener("pageshow", () => (this.#leaving = false));
    this.#settings = { scope: "openid", redirectUri: `${location.origin}/`, parameters: {}, ...settings };
    this.#storage = storage;
  }

  /** Calls the page's own origin as `fetch` does. A challenge leaves the page: nothing is returned. */
  async fetch(path, init = {}) {
    const call = { path: this.#own(path), method: init.method ?? "GET", body: init.body ?? null };
    call.headers = Object.fromEntries(new Headers(init.headers));
    if (call.body !== null && typeof call.body !== "string") throw new TypeError("only text can be repeated");
    const response = await this.#send(call);
    const challenge = challengeOf(response);
    if (challenge === null || challenge.error === "insufficient_claims") return response;
    await this.signIn(challenge, call);
    return new Promise(() => {}); // the page is being left
  }

  /** Ends a sign-in that comes back to this page; gives the answer of the call it was for, or null. */
  async start() {
    const kept = this.#read("pending");
    const given = new URLSearchParams(location.search);
    // Only who was sent away from here knows `state`: a page that is merely opened repeats nothing.
    if (!given.has("state") || kept?.state !== given.get("state")) return null;
    this.#keep("pending", null);
    history.replaceState(null, "", kept.returnTo);
    if (given.has("error")) throw notRepeated(given.get("error_description") ?? given.get("error"));
    if (!this.#settings.backend) await this.#redeem(given, kept);
    if (kept.until < Date.now() / 1000) throw notRepeated("the sign-in took too long");
    // Once: where it is challenged again, the page is informed, and nobody goes in circles.
    return kept.call === null ? null : this.#send(kept.call);
  }

  /** Sends the user to the provider, asked for as the challenge says, and remembers what for. */
  async signIn(challenge = {}, call = null) {
    if (this.#leaving) throw notRepeated("another one is being signed in for");
    this.#leaving = true;
    try {
      await this.#leave(challenge, call);
    } catch (error) {
      this.#leaving = false;
      throw error;
    }
  }

  async #leave(challenge, call) {
    const asked = {};
    for (const name of ["acr_values", "max_age"]) if (challenge[name] !== undefined) asked[name] = challenge[name];
    const state = random();
    const pending = { call, state, returnTo: here(), until: Date.now() / 1000 + LIFETIME };
    if (this.#settings.backend) {
      this.#keep("pending", pending);
      const back = new URL(withQuery(location.href, { state }));
      const query = { ...asked, return_to: back.pathname + back.search };
      location.assign(withQuery(new URL(this.#settings.backend, location.href), query));
      return;
    }
    const metadata = await this.#metadata();
    const verifier = random();
    this.#keep("pending", { ...pending, verifier, subject: this.#read("subject") ?? undefined });
    location.assign(withQuery(metadata.authorization_endpoint, {
      ...this.#settings.parameters,
      ...asked,
      response_type: "code",
      client_id: this.#settings.clientId,
      redirect_uri: this.#settings.redirectUri,
      scope: this.#settings.scope,
      state,
      code_challenge: await digest(verifier),
      code_challenge_method: "S256",
    }));
  }

  /** Forgets the token of this tab; the provider's own session goes on. */
  signOut() {
    for (const name of ["pending", "subject", "token"]) this.#keep(name, null);
  }

  #send({ path, method, headers, body }) {
    const token = this.#read("token");
    const shown = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
    return fetch(path, { method, headers: shown, body, cache: "no-store", redirect: "error" });
  }

  #own(path) {
    const url = new URL(path, location.href);
    if (url.origin !== location.origin) throw new TypeError("the token is for this origin alone");
    return url.pathname + url.search;
  }

  async #redeem(given, kept) {
    const metadata = await this.#metadata();
    // RFC 9207: the answer of another provider must not be redeemed here.
    const iss = given.get("iss");
    if (iss !== null ? iss !== metadata.issuer : metadata.authorization_response_iss_parameter_supported) {
      throw new Error("the answer is another provider's");
    }
    const answer = await fetch(metadata.token_endpoint, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code: given.get("code"),
        redirect_uri: this.#settings.redirectUri,
        client_id: this.#settings.clientId,
        code_verifier: kept.verifier,
      }),
    });
    const answered = await answer.json();
    if (!answer.ok) throw new Error(answered.error_description ?? answered.error);
    const subject = answered.id_token ? claimsOf(answered.id_token).sub : undefined;
    this.#keep("token", answered.access_token);
    this.#keep("subject", subject ?? null);
    // Another user than the one whose call it was must not make it.
    if (kept.subject !== undefined && kept.subject !== subject) throw notRepeated("another_user");
  }

  async #metadata() {
    const { issuer } = this.#settings;
    const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
    const metadata = await answer.json();
    if (metadata.issuer !== issuer) throw new Error(`the metadata are not those of ${issuer}`);
    return metadata;
  }

  #read(name) {
    return JSON.parse(this.#storage.getItem(`${KEY}:${name}`) ?? "null");
  }

  #keep(name, value) {
    if (value === null) this.#storage.removeItem(`${KEY}:${name}`);
    else this.#storage.setItem(`${KEY}:${name}`, JSON.stringify(value));
  }
}

const notRepeated = (why) => new Error(`the call was not repeated: ${why}`);

const here = () => location.pathname + location.search;

function withQuery(address, parameters) {
  const url = new URL(address);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function digest(text) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// It comes from the token endpoint itself (OpenID Connect Core 1.0, section 3.1.3.7), and says only
// whose call is repeated: what anybody may do is decided by who takes the access token.
const claimsOf = (token) => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
