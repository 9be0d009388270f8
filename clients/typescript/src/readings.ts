/**
 * Whether all servers read a path alike: asked before anything else is asked of it.
 *
 * The rules of the sidecar itself (`sidecar/wire/routes/readings.py`, where the reasons stand), and one more:
 * Node.js reads bytes that are not ASCII as Latin-1, others as UTF-8.
 */

const CLEAN = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9\-._~!$&'()*+,=:@]+)*\/?$/;
const UNCLEAR_TARGET = /[^!-~]|[#\\;]|%(?![0-9A-Fa-f]{2})|%(?:2f|5c|3b)/i;
const UNCLEAR = /\/\/|\/\.{1,2}(?:\/|$)|[\u0000-\u001f\u007f\\;\ufffd]|%[0-9A-Fa-f]{2}/;
const COMPATIBLE_DOTS = /(?:^|[/\\])\.{1,2}(?:[/\\;]|$)/;

/** Whether all servers read a path in the same way. It is undecoded, without its query. */
export function isReadAlike(raw: string): boolean {
  if (CLEAN.test(raw)) return true;
  const path = decodedPath(raw);
  return path !== undefined && path.startsWith("/") && !UNCLEAR.test(path) && !COMPATIBLE_DOTS.test(path.normalize("NFKC"));
}

/** What a path is decoded; undefined where that depends on who does it. */
function decodedPath(raw: string): string | undefined {
  if (UNCLEAR_TARGET.test(raw)) return undefined;
  try {
    return decodeURIComponent(raw);
  } catch {
    return undefined; // no UTF-8
  }
}

/**
 * Paths that are not checked: exact ones, and `/static/*` for all below. They are written decoded, and
 * cover a path as browsers spell it. Express matches what it routes by undecoded: of `/%73tatic/x` it
 * would run another handler than of `/static/x`, so that is not below `/static/*`.
 */
export class Public {
  readonly #exact = new Set<string>();
  readonly #below: string[] = [];

  /** Throws TypeError for a text, or a pattern that is neither or can match no call. */
  constructor(paths: readonly string[]) {
    if (!Array.isArray(paths)) throw new TypeError("public is an array of paths");
    for (const pattern of paths) this.#add(pattern);
  }

  get isEmpty(): boolean {
    return this.#exact.size + this.#below.length === 0;
  }

  /** Whether a path that all servers read alike is one of them. It is undecoded, without its query. */
  covers(raw: string): boolean {
    const path = raw.replace(/%../g, (encoded) => encoded.toUpperCase());
    // With a percent sign left in it, who decodes it again may find anything.
    return this.#exact.has(path) || (this.#below.some((prefix) => path.startsWith(prefix)) && !path.includes("%25"));
  }

  #add(pattern: string): void {
    if (typeof pattern !== "string") throw new TypeError("public is an array of paths");
    const path = pattern.endsWith("/*") ? pattern.slice(0, -2) : pattern;
    if (path.includes("*")) throw new TypeError("public has '*' only as '/*' at the end of a path");
    const spelled = encoded(path);
    if (!pattern.startsWith("/") || spelled === undefined || !isReadAlike(spelled || "/")) {
      throw new TypeError(`public can match no call by ${JSON.stringify(pattern)}: write it decoded, from '/'`);
    }
    if (pattern.endsWith("/*")) this.#below.push(`${spelled}/`);
    else this.#exact.add(spelled);
  }
}

/** A decoded path as browsers spell it (RFC 3986, section 3.3); undefined where it has no spelling. */
function encoded(path: string): string | undefined {
  if (/%[0-9A-Fa-f]{2}/.test(path)) return undefined;
  try {
    return path.split("/").map(segment).join("/");
  } catch {
    return undefined; // no Unicode
  }
}

function segment(text: string): string {
  return encodeURIComponent(text).replace(/%(?:24|26|2B|2C|3A|3D|40)/g, decodeURIComponent);
}
