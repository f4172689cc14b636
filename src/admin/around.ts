/** What the admin side knows of the process around it, and may ask of it; made by whoever composes the process (cli/program.ts). */
import type { Config } from "../config/config.ts";
import type { Log } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import type { CertificateSeen } from "../net/tls.ts";
import type { Director } from "../service/director.ts";
import type { Machine } from "../service/machine.ts";
import type { Gathering } from "../service/questions.ts";
import type { Tapping } from "../service/tapping.ts";
import type { Board } from "../stats/board.ts";
import type { ProcessStats } from "../stats/document.ts";
import type { Stamp } from "../topology/change.ts";
import type { Turns } from "../service/turns.ts";
import type { Kept } from "./kept.ts";
import type { Live } from "./live.ts";

/** What carries the traffic: one Proxy on this thread, or Workers. */
export interface AdminService extends Gathering {
  /** In force, with the servers of its sources; another object after each change. */
  readonly config: Config;
  /** What all workers count; pools and servers in the order of `config`. */
  readonly board: Board;
  /** All workers should look at the board: servers of the pool with this number are off the ring, or back. */
  serversChanged(pool: number): void;
  /** Of all workers, gauges of queues measured now. Takes a second if a worker does not answer. */
  stats(): ProcessStats | Promise<ProcessStats>;
}

/** What can be done to the process. */
export interface Control {
  /** Reads the configuration file again. Resolves when that has ended, with what there is to say, for people. */
  reload(): Promise<{ readonly ok: boolean; readonly text: string }>;
  /** How much is logged from now on: a place in LOG_LEVELS. */
  setLogLevel(level: number): void;
  /** What another configuration would move, as JSON: {pools, waiting, refused}. Rejects with an ErrandError. */
  plan(text: string): Promise<string>;
  /** The JSON Schema of the configuration. */
  schema(): unknown;
}

export type Phase = "starting" | "serving" | "draining";

export interface Around {
  readonly clock: Clock;
  readonly log: Log;
  /** Of this thread, for answers that take more than some hundred µs. */
  readonly turns: Turns;
  readonly service: AdminService;
  /** Events, and where servers are as far as keepers say. */
  readonly director: Director;
  /** In force, with the servers of its sources; another object after each change. */
  readonly config: Config;
  /** Which configuration that is, and since when. */
  readonly stamp: Stamp;
  /** The process itself. */
  readonly machine: Machine;
  readonly phase: Phase;
  /** The last fifteen minutes; it runs while the admin side listens. */
  readonly live: Live;
  readonly control: Control;
  readonly kept: Kept;
  /** Those in use by the admin side itself, taken anew if their files have changed. */
  certificates(): readonly CertificateSeen[];
  /** Who listens to requests. */
  readonly tapping: Tapping;
}
