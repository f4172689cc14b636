/**
 * Salted slow hashes of passwords, as `password_hash` of a user has them and `ringmaster password` makes them:
 *
 *   $scrypt$ln=14,r=8,p=1$SALT$HASH      N = 2^ln; SALT and HASH in base64 without "="
 *
 * It is the runtime's own scrypt, which works on a thread of its own; one hash takes 128 × N × r bytes of memory while it does.
 */
import { Buffer } from "node:buffer";
import { builtin } from "../bytes/builtin.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

interface SlowHash {
  readonly cost: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number };
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

const FORM =
  /^\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** What new ones are made with: 16 MiB, some 50 ms. */
const LN = 14;
const R = 8;
const P = 1;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Bytes that one hash may take. */
const MEMORY_MAX = 128 * 1024 * 1024;

export const PASSWORD_HASH_EXPECTED =
  "a line of ringmaster password: $scrypt$ln=14,r=8,p=1$SALT$HASH, with ln from 10 and at most 128 MiB to make it";

/** Of a user: what is longer is not looked at (proxy/users.ts), and in a memcached pool the name has to be with it (memcached/login.ts). */
export const PASSWORD_BYTES_MAX = 8 * 1024;

/** Null if it is none, or takes too much memory. */
function read(text: string): SlowHash | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const [ln, r, p] = [match[1], match[2], match[3]].map(Number) as [number, number, number];
  const memory = 128 * 2 ** ln * r;
  if (ln < 10 || r < 1 || p < 1 || p > 16 || memory > MEMORY_MAX) return null;
  return {
    cost: { N: 2 ** ln, r, p, maxmem: memory + 1024 * 1024 + 128 * r * p },
    salt: Buffer.from(match[4]!, "base64"),
    hash: Buffer.from(match[5]!, "base64"),
  };
}

export function isPasswordHash(text: string): boolean {
  return read(text) !== null;
}

/** @param done called later, once, outside of any turn: is it the password? False too if the machine cannot tell */
export function verifyPassword(text: string, password: Uint8Array, done: (right: boolean) => void): void {
  const known = read(text);
  if (known === null) throw new Error("a password hash that was not checked");
  const { cost, salt, hash } = known;
  // Where nothing is wrong Bun says undefined, and others null.
  crypto().scrypt(password, salt, hash.length, cost, (error, made) => {
    done(!error && crypto().timingSafeEqual(made, hash));
  });
}

/** A line for `password_hash`. */
export function hashPassword(password: string): Promise<string> {
  const salt = crypto().randomBytes(SALT_BYTES);
  const cost = { N: 2 ** LN, r: R, p: P, maxmem: 2 * 128 * 2 ** LN * R };
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
  return new Promise((resolve, reject) => {
    crypto().scrypt(password, salt, HASH_BYTES, cost, (error, made) => {
      if (error) reject(error);
      else resolve(`$scrypt$ln=${LN},r=${R},p=${P}$${base64(salt)}$${base64(made)}`);
    });
  });
}
