/** A keeper that says what the test tells it to say. */
import type { KeeperAround } from "../../src/topology/keepers.ts";
import type { EndpointSpec, Keeper, ServerState, Sign } from "../../src/topology/state.ts";

/** "10.0.0.1:6379" */
export function endpoint(text: string, zone: string | null = null): EndpointSpec {
  const colon = text.lastIndexOf(":");
  return { address: { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) }, text, zone };
}

/** @param primary "host:port"; null = none is known */
export function state(
  server: string,
  term: number,
  primary: string | null,
  more: Partial<ServerState> = {},
): ServerState {
  return {
    server,
    term,
    primary: primary === null ? null : endpoint(primary),
    replicas: [],
    cause: "the test says so",
    why: primary === null ? "the test knows none" : "",
    ...more,
  };
}

export class ScriptedKeeper implements Keeper {
  /** What it has been asked to look at: "server sign". */
  readonly hints: string[] = [];
  started = false;
  stopped = false;
  private changed: ((states: readonly ServerState[]) => void) | null = null;

  constructor(readonly around: KeeperAround) {}

  start(changed: (states: readonly ServerState[]) => void): void {
    this.started = true;
    this.changed = changed;
  }

  hint(server: string, sign: Sign): void {
    this.hints.push(`${server} ${sign}`);
  }

  stop(): void {
    this.stopped = true;
  }

  say(...states: readonly ServerState[]): void {
    this.changed!(states);
  }
}
