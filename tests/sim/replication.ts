/**
 * Replication between model servers, as Redis 7.0 does it (shared facts: a replica lags; it serves its old data in the first part of a
 * full synchronisation and answers -LOADING in the second; who is promoted begins another history, of which the one before is known up
 * to where it began).
 *
 *   primary ── key = value, offset ──(lag)──► replica ──► its own replicas …
 *   REPLICAOF ──► link down ──► partial: what is missing    or full: old data … -LOADING … all of the data ──► link up
 *
 * What is replicated is the value that a key has got, not the command: only database 0, only keys that are set and removed.
 */
import type { SimClock } from "./clock.ts";
import type { ModelRedis, Replication } from "./model_redis.ts";
import type { Random } from "./random.ts";
import type { SimServer } from "./sim_server.ts";

/** What one change adds to the offset. */
const CHANGE_BYTES = 40;
/** A primary is tried again so long after it could not be had. */
const AGAIN_MS = 200;

interface ReplicatedChange {
  readonly offset: number;
  readonly key: string;
  /** undefined: it is gone. */
  readonly value: string | undefined;
}

export interface LinkTimes {
  /** Until a change is applied, at most. */
  readonly lagMaxMs: number;
  /** The two parts of a full synchronisation, at most. */
  readonly transferMaxMs: number;
  readonly loadMaxMs: number;
}

export class ReplicaNode implements Replication {
  /** Whom it follows; null: it is a primary. */
  primary: ReplicaNode | null = null;
  history: string;
  offset = 0;
  /** The history before, and up to where it is this one's too. */
  private before = { history: "", offset: -1 };
  linked = false;
  syncing = false;
  /** It does not run, or cannot be reached: nothing comes from it, and nothing to it. */
  dead = false;
  /** All that has happened, oldest first. */
  private readonly past: ReplicatedChange[] = [];
  private readonly followers = new Set<ReplicaNode>();
  /** Counts the links it has had: what comes on an older one is dropped. */
  private link = 0;
  private arrivesMs = 0;
  private heardMs = 0;
  private downSinceMs = -1;
  /** What is applied comes from the primary: it is not another change. */
  private applying = false;
  /** Full synchronisations so far. */
  fulls = 0;

  /** @param find the node at an address */
  constructor(
    readonly server: SimServer,
    readonly text: string,
    private readonly clock: SimClock,
    private readonly random: Random,
    private readonly times: LinkTimes,
    private readonly find: (text: string) => ReplicaNode | undefined,
  ) {
    this.history = this.newHistory();
    this.attach();
  }

  get model(): ModelRedis {
    return this.server.model as ModelRedis;
  }

  get isPrimary(): boolean {
    return this.primary === null;
  }

  get loading(): boolean {
    return this.model.loadingUntilMs > this.clock.nowMs();
  }

  /** The server's model is another one: it has begun anew. */
  attach(): void {
    this.model.replication = this;
    this.model.role = this.isPrimary ? "master" : "slave";
  }

  private newHistory(): string {
    return Array.from({ length: 40 }, () => this.random.int(0, 15).toString(16)).join("");
  }

  // ---- orders

  replicaOf(host: string, port: string): void {
    if (host.toLowerCase() === "no") return this.promote();
    const primary = this.find(`${host}:${port}`);
    if (primary !== undefined) this.follow(primary);
  }

  /** Takes writes from now on. */
  promote(): void {
    if (this.primary === null) return;
    this.unlink();
    this.primary = null;
    this.before = { history: this.history, offset: this.offset };
    this.history = this.newHistory();
    this.model.role = "master";
    this.model.loadingUntilMs = Math.min(this.model.loadingUntilMs, this.clock.nowMs());
  }

  follow(primary: ReplicaNode): void {
    if (primary === this || this.primary === primary) return;
    this.unlink();
    this.primary = primary;
    this.model.role = "slave";
    this.downSinceMs = this.clock.nowMs();
    this.connect();
  }

  /** The process has ended and begun again. @param empty with nothing on its disk */
  restart(empty: boolean): void {
    const { primary } = this;
    this.unlink();
    this.attach();
    if (empty) {
      this.past.length = this.offset = 0;
      this.history = this.newHistory();
      this.before = { history: "", offset: -1 };
    }
    for (const follower of [...this.followers]) follower.lost();
    if (primary === null) return;
    this.downSinceMs = -1;
    this.primary = primary;
    this.connect();
  }

  /** The link to the primary is gone, and made again. */
  lost(): void {
    const { primary } = this;
    if (primary === null) return;
    this.unlink();
    this.primary = primary;
    this.downSinceMs = this.clock.nowMs();
    this.connect();
  }

  private unlink(): void {
    this.link++;
    this.linked = this.syncing = false;
    this.primary?.followers.delete(this);
  }

  // ---- the link

  private connect(): void {
    const link = this.link;
    const soon = (ms: number, run: () => void) =>
      this.clock.setTimer(ms, () => {
        if (this.link === link) run();
      });
    const primary = this.primary!;
    if (primary.dead || this.dead || primary.loading || !primary.isPrimary && !primary.linked) {
      soon(AGAIN_MS, () => this.connect());
      return;
    }
    soon(this.random.next() * 5, () => {
      if (primary.knows(this.history, this.offset)) this.resume(primary);
      else this.synchronise(primary, soon);
    });
  }

  /** Can it bring up to date who has come so far in that history? */
  private knows(history: string, offset: number): boolean {
    if (offset > this.offset) return false;
    return history === this.history || history === this.before.history && offset <= this.before.offset;
  }

  private resume(primary: ReplicaNode): void {
    this.history = primary.history;
    this.before = { ...primary.before };
    this.linked = true;
    this.heardMs = this.arrivesMs = this.clock.nowMs();
    primary.followers.add(this);
    for (const change of primary.past) if (change.offset > this.offset) this.receiveLater(change);
  }

  private synchronise(primary: ReplicaNode, soon: (ms: number, run: () => void) => void): void {
    this.fulls++;
    this.syncing = true;
    soon(this.random.next() * this.times.transferMaxMs, () => {
      const loadMs = this.random.next() * this.times.loadMaxMs;
      const snapshot = new Map(
        [...primary.model.databases[0]!.entries].map(([key, { value }]) => [key, value as string]),
      );
      const [{ offset, history }, past] = [primary, [...primary.past]];
      this.model.loadingUntilMs = this.clock.nowMs() + loadMs;
      soon(loadMs, () => {
        this.syncing = false;
        this.offset = offset;
        this.history = history;
        this.past.splice(0, this.past.length, ...past);
        const db = this.model.databases[0]!;
        this.applying = true;
        for (const key of [...db.entries.keys()]) db.remove(key);
        for (const [key, value] of snapshot) db.put(key, value);
        this.applying = false;
        for (const follower of [...this.followers]) follower.lost();
        if (primary.knows(history, offset)) this.resume(primary);
        else this.connect();
      });
    });
  }

  private receiveLater(change: ReplicatedChange): void {
    const link = this.link;
    this.arrivesMs = Math.max(this.arrivesMs, this.clock.nowMs() + this.random.next() * this.times.lagMaxMs);
    this.clock.at(this.arrivesMs, () => {
      if (this.link !== link || !this.linked) return;
      // What has left the primary arrives; who does not run loses it with the link.
      if (this.dead) return this.lost();
      this.heardMs = this.clock.nowMs();
      this.applying = true;
      const db = this.model.databases[0]!;
      if (change.value === undefined) db.remove(change.key);
      else db.put(change.key, change.value);
      this.applying = false;
      this.pass(change);
    });
  }

  private pass(change: ReplicatedChange): void {
    this.offset = change.offset;
    this.past.push(change);
    for (const follower of this.followers) if (!this.dead) follower.receiveLater(change);
  }

  changed(key: string): void {
    if (this.applying) return;
    const value = this.model.databases[0]!.entries.get(key)?.value as string | undefined;
    this.pass({ offset: this.offset + CHANGE_BYTES, key, value });
  }

  // ---- what it says

  role(): string {
    const { primary } = this;
    if (primary === null) return `*3\r\n$6\r\nmaster\r\n:${this.offset}\r\n*0\r\n`;
    const [host, port] = primary.text.split(":");
    const state = this.linked ? "connected" : this.syncing ? "sync" : "connect";
    return `*5\r\n$5\r\nslave\r\n$${
      host!.length
    }\r\n${host}\r\n:${port}\r\n$${state.length}\r\n${state}\r\n:${this.offset}\r\n`;
  }

  info(): string {
    const nowMs = this.clock.nowMs();
    const seconds = (ms: number) => Math.floor(ms / 1000);
    const lines = ["# Replication", `role:${this.isPrimary ? "master" : "slave"}`];
    if (this.primary !== null) {
      const [host, port] = this.primary.text.split(":");
      lines.push(
        `master_host:${host}`,
        `master_port:${port}`,
        `master_link_status:${this.linked ? "up" : "down"}`,
        // Pings come every ten seconds.
        `master_last_io_seconds_ago:${this.linked ? Math.min(9, seconds(nowMs - this.heardMs)) : -1}`,
        `master_sync_in_progress:${this.syncing ? 1 : 0}`,
        `slave_repl_offset:${this.offset}`,
      );
      if (!this.linked) {
        const downMs = this.downSinceMs < 0 ? -1 : seconds(nowMs - this.downSinceMs);
        lines.push(`master_link_down_since_seconds:${downMs}`);
      }
    }
    lines.push(`connected_slaves:${this.followers.size}`);
    [...this.followers].forEach((follower, i) => {
      const [ip, port] = follower.text.split(":");
      // Whatever it does: a primary believes that it is well.
      lines.push(`slave${i}:ip=${ip},port=${port},state=online,offset=${follower.offset},lag=0`);
    });
    lines.push(`master_replid:${this.history}`, `master_repl_offset:${this.offset}`, "");
    lines.push("# Persistence", `loading:${this.loading ? 1 : 0}`, "async_loading:0", "");
    return lines.join("\r\n");
  }
}
