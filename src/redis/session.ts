/** What a Redis client has said about itself, and where the scan of its half-received request stands. */
import { latin1 } from "../bytes/ascii.ts";
import type { AclRules } from "../protocol/redis/acl_rules.ts";
import type { Session } from "../protocol/redis/answers.ts";
import type { Command } from "../protocol/redis/command.ts";
import type { Client } from "../proxy/client.ts";
import type { BlockingCall } from "./blocking.ts";
import type { LargeRequest } from "./large.ts";
import type { Told } from "./learn.ts";
import type { Preparation } from "./preparation.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { PoolReads } from "./reads.ts";
import type { ClientRedirects } from "./redirect_queue.ts";
import type { Subscriptions } from "./pubsub.ts";
import type { Tracking } from "./tracking.ts";
import type { Transaction } from "./transaction.ts";
import type { Login, User } from "../proxy/users.ts";
import { Marks } from "./writes.ts";
import { RequestResume } from "../protocol/redis/request.ts";

export const REPLIES_ON = 0;
export const REPLIES_OFF = 1;
/** The next request's reply is dropped. */
export const REPLIES_SKIP_NEXT = 2;
/** This request's is. */
export const REPLIES_SKIPPING = 3;

const NONE = new Uint8Array(0);

export class RedisSession implements Session {
  name: Uint8Array = NONE;
  libName: Uint8Array = NONE;
  libVersion: Uint8Array = NONE;
  resp: 2 | 3 = 2;
  db = 0;
  canRedirect = false;
  /** The last one, of those known. */
  command: Command | undefined = undefined;
  /** MULTI or WATCH in progress. */
  transaction: Transaction | null = null;
  /** A command that waits on its server. */
  blocking: BlockingCall | null = null;
  /**
   * Where the request with the key `name`, which is to stream through, has to go; null = not asked yet, or nothing to ask (redis/redirect.ts,
   * `locate`).
   */
  place: { readonly name: Uint8Array; readonly endpoint: Endpoint | null; readonly asking: boolean } | null =
    null;
  /** A request that streams through. */
  large: LargeRequest | null = null;
  /** A request that goes out, or is answered, in slices. Told when the client is gone, if it has anything to give back. */
  sliced: { readonly holdsBytes: number; abandon?(): void } | null = null;
  /** What a server has said of the keys of the request that the client offers again; null if none was asked. */
  told: Told | null = null;
  /** A request of very many arguments that is looked at, some a turn, before it is taken. */
  preparation: Preparation | null = null;
  /** What the client is subscribed to. */
  subscriptions: Subscriptions | null = null;
  /** Dedicated connections, of a client that has a mode of its own on its servers (CLIENT TRACKING). */
  tracking: Tracking | null = null;
  /** CLIENT REPLY: ON, or OFF; SKIP_NEXT and SKIPPING for SKIP. */
  replies = REPLIES_ON;
  readonly resume = new RequestResume();
  /** Offset, from the start of a half-received inline command, up to which there is no line end. */
  inlineAt = 0;

  /** Who it is, each byte a character. */
  user = "default";
  /** What its requests are asked about (redis/permit.ts); null = it may do everything. */
  rights: AclRules | null = null;
  /** It is authenticated, and has never been asked for a password. */
  open = false;
  /** What has become of the login that the client offers again (proxy/users.ts); null if none waits. */
  login: Login | null = null;

  /** No mode is on. Kept by `refresh`. */
  plain = true;
  /** Requests with one key can take the short way: it is logged in, no mode is on, they go to the primary whatever they are, and none is kept. Kept by `refresh`. */
  short = true;
  /** Who may answer its reads; null = primaries alone (read_from). Set by `readFrom`. */
  reads: PoolReads | null = null;
  /** What it has written; null unless read_your_writes. */
  marks: Marks | null = null;
  /** What nodes of a cluster have not answered themselves; null = nothing ever. */
  redirects: ClientRedirects | null = null;
  /** Bytes of its reads that are kept until they have been answered. */
  readBytes = 0;

  readonly id: number;

  constructor(
    readonly client: Client,
    public authenticated: boolean,
    readonly sinceMs: number,
    private readonly local: string,
    /** `local` stands for every address of the machine, or is a name. */
    private readonly anyAddress: boolean,
  ) {
    this.id = client.serial;
  }

  /** Connections are shared among clients of one database and one protocol version: this numbers the combinations. */
  get connectionClass(): number {
    return this.db * 2 + (this.resp === 3 ? 1 : 0);
  }

  get overUnix(): boolean {
    return this.local.startsWith("/");
  }

  address(): string {
    // As redis-server: the peer of a unix socket has no name but the socket's.
    return this.client.announced ?? (this.overUnix ? this.local : this.client.socket.peer());
  }

  localAddress(): string {
    return this.anyAddress ? this.client.socket.local() : this.local;
  }

  /** To be called after any mode may have changed. */
  refresh(): void {
    this.plain = this.transaction === null && this.subscriptions === null && this.tracking === null &&
      this.replies === REPLIES_ON;
    this.short = this.authenticated && this.plain && this.reads === null &&
      !this.client.pool.config.retryReads;
  }

  /**
   * It is this user from now on, logged in or not.
   * @param open it has not been asked for a password
   */
  become({ name, rights }: User, authenticated: boolean, open: boolean): void {
    this.user = name;
    this.rights = rights;
    this.authenticated = authenticated;
    this.open = open;
    this.refresh();
  }

  /** Who it is, for ACL LOG: a line like CLIENT LIST's, shortened. */
  line(): string {
    const { id, name, command, user, resp, db } = this;
    return `id=${id} addr=${this.address()} laddr=${this.localAddress()} name=${latin1(name)} db=${db} ` +
      `cmd=${command?.lower ?? "NULL"} user=${user} resp=${resp}`;
  }

  readFrom(reads: PoolReads | null): void {
    this.reads = reads;
    this.marks = reads === null || reads.writes === null ? null : this.marks ?? new Marks();
    this.refresh();
  }
}
