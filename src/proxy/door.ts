/**
 * Who may connect to a pool: `allow`, `deny` and `proxy_from`. A pool without any of them has no door.
 *
 *   accept ──► door.opens: from a load balancer? or: may he in? ──► Greeting, where one has to come ──► door.readPreface: may he in?
 *
 * Where load balancers say who the client is, he is judged, and not they: they are those of proxy_from. A connection of which they
 * say nothing (a health check) is judged by its own address. Whoever comes through a unix socket has been let in by its file.
 * A connection that is refused is closed without a word; each is counted, some a second are in the log.
 */
import type { PoolConfig } from "../config/config.ts";
import { contains, type Ip, ipOfPeer, type IpRange } from "../net/ip_range.ts";
import { type Log, NOTICE } from "../net/log.ts";
import { type Preface, REFUSED, type Socket } from "../net/net.ts";
import { type ProxyHeader, readProxyHeader } from "../protocol/proxy_header.ts";
import { CLIENTS_DENIED, PROXY_HEADER_ERRORS } from "../stats/metrics.ts";

/** Refusals of a pool that are told one by one in a second. */
const LINES_MAX = 5;
const LINES_MS = 1000;

/** What a door needs of its pool. */
export interface DoorOf {
  readonly counters: Float64Array;
  readonly log: Log;
  readonly turn: { now(): number };
}

/** How many lines there have been of late; outlives the door, which each reload makes anew. */
export class Lines {
  private sinceMs = -Infinity;
  private count = 0;
  private unsaid = 0;

  constructor(private readonly log: Log, private readonly pool: string) {}

  write(nowMs: number, text: string): void {
    if (nowMs - this.sinceMs >= LINES_MS) {
      const { unsaid } = this;
      this.sinceMs = nowMs;
      this.count = this.unsaid = 0;
      if (unsaid > 0) this.say(`${unsaid} more connections were refused`);
    }
    if (this.count++ < LINES_MAX) this.say(text);
    else this.unsaid++;
  }

  private say(text: string): void {
    this.log.write(NOTICE, `pool '${this.pool}': ${text}`);
  }
}

export class Door implements Preface {
  /** Connections begin with a header that says whose they are. */
  readonly expectsHeader: boolean;

  private constructor(
    private readonly config: PoolConfig,
    private readonly of: DoorOf,
    private readonly lines: Lines,
  ) {
    this.expectsHeader = config.proxyProtocol;
  }

  /** The door of a pool; null: everybody may connect. */
  static make(config: PoolConfig, of: DoorOf, lines: Lines): Door | null {
    const { allow, deny, proxyProtocol } = config;
    return allow === null && deny === null && !proxyProtocol ? null : new Door(config, of, lines);
  }

  /** A connection has come: may it stay, for now? If not, that has been said. */
  opens(socket: Socket): boolean {
    if (!this.expectsHeader) return this.lets(socket, ipOfPeer(socket.peer()), "");
    const peer = socket.peer();
    const ip = ipOfPeer(peer);
    if (ip === null || (this.config.proxyFrom !== null && within(this.config.proxyFrom, ip))) return true;
    this.wrong(peer, "proxy_from does not have the address");
    return false;
  }

  /** The header, once it is all here and if its client may stay. */
  readPreface(socket: Socket, bytes: Uint8Array): ProxyHeader | null | typeof REFUSED {
    const header = readProxyHeader(bytes);
    if (typeof header === "string") this.wrong(socket.peer(), header);
    else if (header === null || this.lets(socket, header.ip ?? ipOfPeer(socket.peer()), header.client)) {
      return header;
    }
    return REFUSED;
  }

  /** May this connection stay, of which all has been read that comes before its first request? If not, that has been said. */
  letsOn(socket: Socket): boolean {
    const { announced } = socket;
    if (announced === undefined) return this.opens(socket);
    return this.lets(socket, ipOfPeer(announced || socket.peer()), announced);
  }

  /**
   * May this client stay? If not, that has been said.
   * @param ip null: it came through a unix socket
   * @param client "ip:port" that a load balancer has announced; "": that of the connection
   */
  lets(socket: Socket, ip: Ip | null, client: string): boolean {
    if (ip === null) return true;
    const { allow, deny } = this.config;
    const range = deny?.find((each) => contains(each, ip));
    if (range === undefined && (allow === null || within(allow, ip))) return true;
    this.of.counters[CLIENTS_DENIED]!++;
    const who = client === "" ? socket.peer() : `${client} (announced by ${socket.peer()})`;
    const why = range === undefined ? "allow does not have the address" : `deny has ${range.text}`;
    this.lines.write(this.of.turn.now(), `client ${who} refused: ${why}`);
    return false;
  }

  /** A connection that should have begun with a header, from where it may, has not. @param peer "ip:port" */
  wrong(peer: string, why: string): void {
    this.of.counters[PROXY_HEADER_ERRORS]!++;
    this.lines.write(this.of.turn.now(), `connection from ${peer} refused: proxy_protocol: ${why}`);
  }
}

function within(ranges: readonly IpRange[], ip: Ip): boolean {
  return ranges.some((range) => contains(range, ip));
}
