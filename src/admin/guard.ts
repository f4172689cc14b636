/**
 * Who may ask: looks at the head of a request before anything else does. Pure, so that every case is a line in a test.
 *
 *   exactly one Host ──► (no token) an IP address or localhost ──► Origin, if any, is the Host ──► token, if one is needed ──► null
 *
 * A page of another site that a browser on this machine has open must learn nothing and change nothing. It cannot read what it
 * asks of another origin; so it would make its own name lead here (DNS rebinding): then Host has that name, and is refused. It can send a
 * POST without reading the answer: then a browser says where it comes from (Origin, Sec-Fetch-Site), and it is refused.
 * With TLS the browser has seen a certificate of the name. With a token a name is as good as an address: a page of another origin does not know the token, and a browser does not add it there.
 *
 * Headers are counted as they were sent: two Hosts are refused.
 */
import { builtin } from "../bytes/builtin.ts";
import { type Head, valuesOf } from "./http.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

export interface Refusal {
  readonly status: number;
  readonly why: string;
}

/**
 * Null if it may be asked.
 * @param token what has to be known; null = nothing, since only this machine can connect
 * @param open true: the route asks for no token
 * @param secure by TLS: whoever made another name lead here has no certificate for it
 */
export function refusalOf(
  head: Pick<Head, "method" | "target" | "rawHeaders">,
  token: string | null,
  open: boolean,
  secure = false,
): Refusal | null {
  const hosts = valuesOf(head.rawHeaders, "host");
  if (!head.target.startsWith("/")) return { status: 400, why: "expected a path that begins with /" };
  if (hosts.length !== 1) return { status: 400, why: `found ${hosts.length} Host headers, expected one` };
  const host = hostOf(hosts[0]!);
  if (host === null) return { status: 400, why: "the Host header is no host" };
  if (token === null && !secure && !isAddress(host)) {
    return {
      status: 403,
      why: "Host: expected an IP address or localhost; a name may lead here from anywhere",
    };
  }
  const origins = valuesOf(head.rawHeaders, "origin");
  if (origins.length > 1 || (origins.length === 1 && !isOriginOf(origins[0]!, hosts[0]!))) {
    return { status: 403, why: "Origin: a page of another site may not ask" };
  }
  const sites = valuesOf(head.rawHeaders, "sec-fetch-site");
  if (head.method === "POST" && sites.some((site) => site !== "same-origin" && site !== "none")) {
    return { status: 403, why: "Sec-Fetch-Site: a page of another site may not ask" };
  }
  if (token === null || open || knows(head.rawHeaders, token)) return null;
  return { status: 401, why: "expected Authorization: Bearer TOKEN, or Basic with the token as password" };
}

/** The host of HOST or HOST:PORT, in lower case, an IPv6 address with its brackets; null if it is neither. */
function hostOf(text: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$/i.exec(text);
  return match === null ? null : match[1]!.toLowerCase();
}

/** Whoever makes a name lead here cannot do so with an address, nor with this name. */
function isAddress(host: string): boolean {
  return host === "localhost" || host.startsWith("[") || /^[0-9]{1,3}(\.[0-9]{1,3}){3}$/.test(host);
}

/** https: what ends TLS in front of us keeps the Host. */
function isOriginOf(origin: string, host: string): boolean {
  const text = origin.toLowerCase();
  return text === `http://${host.toLowerCase()}` || text === `https://${host.toLowerCase()}`;
}

function knows(rawHeaders: readonly string[], token: string): boolean {
  const given = valuesOf(rawHeaders, "authorization");
  if (given.length !== 1) return false;
  const [, scheme, word] = /^(bearer|basic) +(\S+)$/i.exec(given[0]!) ?? [];
  if (scheme === undefined) return false;
  if (scheme.toLowerCase() === "bearer") return same(word!, token);
  const pair = decoded(word!);
  return same(pair.slice(pair.indexOf(":") + 1), token);
}

function decoded(base64: string): string {
  try {
    return atob(base64);
  } catch {
    return "";
  }
}

/** In a time that does not tell how much of it is right. */
function same(given: string, token: string): boolean {
  const digest = (text: string) => crypto().createHash("sha256").update(text).digest();
  return crypto().timingSafeEqual(digest(given), digest(token));
}
