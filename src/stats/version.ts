/** Our version, and that of the Redis whose answers we imitate: clients switch features on the latter. */
export const VERSION = "0.1.0";
export const REDIS_VERSION = "7.4.0";

/** What an executable of `deno task release` was made from, and for; undefined names elsewhere. */
declare const RINGMASTER_COMMIT: string | undefined;
declare const RINGMASTER_TARGET: string | undefined;

/** "commit 0123456789ab, linux-x64"; what is said of a build that nobody has marked. */
export const BUILD: string = typeof RINGMASTER_COMMIT === "string" && typeof RINGMASTER_TARGET === "string"
  ? `commit ${RINGMASTER_COMMIT}, ${RINGMASTER_TARGET}`
  : "built from source";
