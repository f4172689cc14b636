/**
 * A small client of a cluster that follows redirects as `redis-cli -c` does: it asks somebody, and goes where it is sent. What it knows of
 * slots it has from MOVED alone, so it does not share a thought with the proxy. One connection to each node.
 *
 *   call("GET", "a") ──► a node ──► -MOVED n ──► n, remembered
 *                              └──► -ASK n ──► ASKING, and the same again, at n; not remembered
 *                              └──► -TRYAGAIN, -CLUSTERDOWN ──► the same again, until `patienceMs` are over
 */
import { concat, latin1 } from "./bytes.ts";
import { RawClient, type Reply, type Target } from "./client.ts";
import { slotOf } from "./cluster.ts";
import { delay } from "./poll.ts";
import { ReplyError } from "./resp.ts";

/** Arguments are text of one byte a character. */
export type Words = readonly string[];

export function encode(words: Words): Uint8Array<ArrayBuffer> {
  return latin1(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`);
}

/** Redirects that one command may be told, and attempts to connect. */
const MAX_REDIRECTS = 16;
const PAUSE_MS = 20;

export interface ClusterClientOptions {
  /** How long TRYAGAIN, CLUSTERDOWN and dead nodes are borne with; 0 if absent: they are the reply. */
  readonly patienceMs?: number;
  /** Sent on each new connection, replies unread: AUTH, HELLO, SELECT. */
  readonly opening?: readonly Words[];
}

interface Redirect {
  readonly kind: "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN";
  readonly slot: number;
  readonly port: number;
}

/** What an error reply asks for; null: it is one. */
function redirectOf(reply: Reply): Redirect | null {
  const match = /^-(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) (?:(\d+) [^ ]*:(\d+))?/.exec(reply.text);
  if (match === null) return null;
  return { kind: match[1] as Redirect["kind"], slot: Number(match[2]), port: Number(match[3]) };
}

export class ClusterClient implements AsyncDisposable {
  private readonly open = new Map<number, RawClient>();
  /** slot → port */
  private readonly owners = new Map<number, number>();
  private current: number;
  private readonly patienceMs: number;
  /** What has been said to all nodes, and is said to a new connection. */
  readonly opening: Words[];

  /** @param seeds ports of 127.0.0.1 */
  constructor(private readonly seeds: readonly number[], options: ClusterClientOptions = {}) {
    this.current = seeds[0]!;
    this.patienceMs = options.patienceMs ?? 0;
    this.opening = [...options.opening ?? []];
  }

  /** One command and its reply; an error is one too. Rejects if a connection is lost after it was sent, or nobody is there. */
  async call(...words: string[]): Promise<Reply> {
    const [reply] = await this.together([words], words[1]);
    return reply!;
  }

  /**
   * MULTI, these, EXEC (or DISCARD, whatever the last one is): all of it once more elsewhere when one of the replies is a redirect. Gives
   * the replies of the last attempt, that of MULTI first.
   */
  async transaction(commands: readonly Words[], key: string | undefined): Promise<Reply[]> {
    return await this.together(commands, key);
  }

  /** The same to one node, whoever owns what. */
  async at(port: number, words: Words): Promise<Reply> {
    return (await this.send(port, [words], false))[0]!;
  }

  /** Forgets connections, so that what was WATCHed is not any more. */
  close(): void {
    for (const each of this.open.values()) each.close();
    this.open.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  private async together(commands: readonly Words[], key: string | undefined): Promise<Reply[]> {
    const giveUpMs = performance.now() + this.patienceMs;
    const patient = () => performance.now() < giveUpMs;
    let port = (key === undefined ? undefined : this.owners.get(slotOf(key))) ?? this.current;
    let asking = false;
    for (let redirects = 0;;) {
      try {
        await this.connection(port);
      } catch (error) {
        // Nothing was sent: somebody else knows more.
        if (!patient()) throw error;
        await delay(PAUSE_MS);
        port = this.seeds[(this.seeds.indexOf(port) + 1) % this.seeds.length]!;
        asking = false;
        continue;
      }
      const replies = await this.send(port, commands, asking);
      const at = replies.findIndex((reply) => redirectOf(reply) !== null);
      if (at < 0) {
        if (!asking) this.current = port;
        return replies;
      }
      const redirect = redirectOf(replies[at]!)!;
      if (redirect.kind === "MOVED" || redirect.kind === "ASK") {
        if (++redirects > MAX_REDIRECTS && !patient()) return replies;
        asking = redirect.kind === "ASK";
        if (!asking) this.owners.set(redirect.slot, redirect.port);
        port = redirect.port;
        // To a dead node, and back again: slowly.
        if (redirects > MAX_REDIRECTS) await delay(PAUSE_MS);
        continue;
      }
      if (!patient()) return replies;
      await delay(PAUSE_MS);
      asking = false;
      port = this.current;
    }
  }

  private async send(port: number, commands: readonly Words[], asking: boolean): Promise<Reply[]> {
    const client = await this.connection(port);
    try {
      await client.send(concat([...asking ? [encode(["ASKING"])] : [], ...commands.map(encode)]));
      if (asking) await client.readReply();
      const replies: Reply[] = [];
      for (let i = 0; i < commands.length; i++) replies.push(await client.readReply());
      return replies;
    } catch (error) {
      client.close();
      this.open.delete(port);
      throw error;
    }
  }

  private async connection(port: number): Promise<RawClient> {
    const known = this.open.get(port);
    if (known !== undefined) return known;
    const target: Target = { host: "127.0.0.1", port };
    const client = await RawClient.connect(target);
    for (const words of this.opening) {
      await client.send(encode(words));
      const { value } = await client.readReply();
      if (value instanceof ReplyError) throw value;
    }
    this.open.set(port, client);
    return client;
  }
}
