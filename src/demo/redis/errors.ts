/** Error texts of Redis 7.0 that more than one command uses, and the exception that carries one to the client. */

export class CommandError extends Error {
  override name = "CommandError";
}

export const WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
export const SYNTAX = "ERR syntax error";
export const NOT_INTEGER = "ERR value is not an integer or out of range";
export const NOT_FLOAT = "ERR value is not a valid float";
export const NOT_POSITIVE = "ERR value is out of range, must be positive";
export const NO_SUCH_KEY = "ERR no such key";
export const OVERFLOW = "ERR increment or decrement would overflow";
export const NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
export const TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/** @param name as Redis shows it: lower case, "command" or "command|subcommand" */
export function wrongArguments(name: string): string {
  return `ERR wrong number of arguments for '${name}' command`;
}
