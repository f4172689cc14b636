/**
 * Modules of the runtime that are loaded when they are first used. Imported, each would be loaded before the first line of ours
 * runs: together they took as long as all else of the start (docs/decisions/53-first-request.md).
 */

/** @param name "node:…" @returns gives the module; from the second call on it costs nothing */
export function builtin<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => loaded ??= process.getBuiltinModule(name) as T;
}
