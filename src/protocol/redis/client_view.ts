/**
 * What CLIENT LIST and CLIENT INFO tell of one client, in Redis's words.
 *
 * All fields of Redis 7, since programs index them; those that have no meaning here are 0 (fd, memory of arguments and buffers
 * that are shared). What is not known is left out (tot-cmds, watch).
 */

/** One client as it stands. All numbers ≥ 0 unless said otherwise. */
export interface ClientView {
  readonly id: number;
  /** "127.0.0.1:54321", or "/path:0" of a unix socket. */
  readonly address: string;
  readonly localAddress: string;
  readonly name: string;
  readonly libName: string;
  readonly libVersion: string;
  readonly ageSeconds: number;
  readonly idleSeconds: number;
  /** Letters as in FLAGS_KNOWN; "N" if there are none. */
  readonly flags: string;
  /** "r": it can be told of redirections. */
  readonly capabilities: string;
  readonly user: string;
  readonly db: number;
  /** What it is subscribed to. */
  readonly channels: number;
  readonly patterns: number;
  readonly shardChannels: number;
  /** Commands queued since MULTI; -1 = not in a transaction. */
  readonly queued: number;
  /** Bytes of half-received or waiting requests. */
  readonly requestBytes: number;
  /** Bytes of replies that the client has not taken. */
  readonly replyBytes: number;
  /** Bytes of memory that would be free without it. */
  readonly heldBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** "client|list"; "NULL" before the first. */
  readonly command: string;
  /** -1 = none, 0 = to itself. */
  readonly redirect: number;
  readonly resp: 2 | 3;
}

/** Every letter that `flags` of a Redis or Valkey server may show; filters know these. */
export const FLAGS_KNOWN = "OSMPxbtRBdcuAUreTIN";

export function isSubscriber(view: ClientView): boolean {
  return view.channels + view.patterns + view.shardChannels > 0;
}

/** Its line, with the line end. */
export function clientLine(v: ClientView): string {
  return `id=${v.id} addr=${v.address} laddr=${v.localAddress} fd=-1 name=${v.name} age=${v.ageSeconds} ` +
    `idle=${v.idleSeconds} flags=${v.flags} db=${v.db} sub=${v.channels} ` +
    `psub=${v.patterns} ssub=${v.shardChannels} multi=${v.queued} qbuf=${v.requestBytes} qbuf-free=0 ` +
    `argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=${v.replyBytes} oll=0 omem=${v.replyBytes} tot-mem=${v.heldBytes} ` +
    `events=${
      v.replyBytes > 0 ? "rw" : "r"
    } cmd=${v.command} user=${v.user} redir=${v.redirect} resp=${v.resp} ` +
    `lib-name=${v.libName} lib-ver=${v.libVersion} capa=${v.capabilities} tot-net-in=${v.receivedBytes} tot-net-out=${v.sentBytes}\n`;
}
