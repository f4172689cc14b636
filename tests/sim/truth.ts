/**
 * What really happened: every execution of a request by a model server, found by the tag that the client put into it.
 *
 *   client: SET c3k1~3.17.0 =3.17;…  ──► proxy ──► server 2 executes it ──► truth["3.17.0"] = { reply, server 2, … }
 *                                    ◄── reply ──  must be that reply, byte for byte, or an error of the table
 *
 * A tag is client.request.part, different for each key of each request, so that a reply can belong to one request only
 * and an execution can be noticed when it happens twice.
 */

/** One request, or one fragment of one, as a server executed it. */
export interface Execution {
  readonly server: number;
  readonly connection: number;
  readonly atMs: number;
  readonly tags: readonly string[];
  /** The keys as the client sent them, tags included; empty for those without. */
  readonly keys: readonly string[];
  /** The whole reply, latin1. */
  readonly reply: string;
  /** The part of the reply for each tag, for commands that have a part a key; else null. */
  readonly parts: readonly string[] | null;
}

export class Violation extends Error {
  override name = "Violation";
}

export class Truth {
  readonly executions = new Map<string, Execution>();
  /** The tags of each transaction: all of them are executed, or none is. */
  readonly transactions: (readonly string[])[] = [];
  /** Tags of messages in transactions: they may be sent when EXEC has been answered, behind what came after them. */
  readonly late = new Set<string>();
  /** What servers have said out of turn: whoever was next may have got it for a reply. */
  readonly extras = new Set<string>();
  /** Per server connection and client: the last request executed. Order within a connection is strict. */
  private readonly lastOn = new Map<string, number>();
  /** What SCRIPT LOAD has been answered for. */
  readonly scripts = new Set<string>();
  /** Per client and key, whatever the server: the last request executed. */
  private readonly lastOf = new Map<
    string,
    { readonly request: number; readonly server: number; readonly atMs: number }
  >();
  /** Requests that were executed after a later one of the same client for the same key, with what is wrong with that. */
  private readonly overtaken = new Map<string, string>();
  /** A key is in one place at a time, and a client's requests for it stay in their order even where that changes. */
  isOrdered = false;
  /** Server connections so far. */
  connections = 0;
  /** May this be executed twice? It is a read. */
  mayRepeat: (tag: string) => boolean = () => false;
  /** May a request be executed on a connection behind a later one of its client? It has come by a detour. */
  mayDetour: (tag: string) => boolean = () => false;
  /** May it be so for one key, behind "client.request", which was executed there and then? */
  mayBeLate: (tag: string, behind: string, server: number, atMs: number) => boolean = () => false;
  /** Told of each execution, to check where it happened. */
  watch: (execution: Execution) => void = () => {};
  /** Told what each connection to a server says first: a password, or something else (null); and when it was made. */
  watchPassword: (password: string | null, madeAtMs: number) => void = () => {};

  record(execution: Execution): void {
    this.watch(execution);
    for (const tag of execution.tags) {
      const before = this.executions.get(tag);
      if (before !== undefined && !this.mayRepeat(tag)) {
        throw new Violation(
          `request ${tag} was executed twice: by server ${before.server} at ${
            before.atMs.toFixed(3)
          } and by ` +
            `server ${execution.server} at ${execution.atMs.toFixed(3)}`,
        );
      }
      this.executions.set(tag, execution);
      if (this.late.has(tag)) continue;
      const [client, request] = tag.split(".") as [string, string];
      const key = `${execution.connection} ${client}`;
      const last = this.lastOn.get(key) ?? 0;
      if (last > Number(request) && !this.mayDetour(tag)) {
        throw new Violation(
          `request ${tag} was executed after request ${client}.${last} on connection ${execution.connection}`,
        );
      }
      this.lastOn.set(key, Math.max(last, Number(request)));
      this.noteOrder(execution, tag, client, Number(request));
    }
  }

  private noteOrder({ keys, atMs, server }: Execution, tag: string, client: string, request: number): void {
    const name = keys.find((key) => key.endsWith(`~${tag}`))?.slice(0, -tag.length - 1);
    if (name === undefined) return;
    const place = `${client} ${name}`;
    const last = this.lastOf.get(place);
    if (last === undefined || last.request <= request) this.lastOf.set(place, { request, server, atMs });
    else if (!this.mayBeLate(tag, `${client}.${last.request}`, last.server, last.atMs)) {
      this.overtaken.set(
        tag,
        `request ${tag} for ${name} was executed by server ${server} at ${
          atMs.toFixed(3)
        }, after request ${client}.${last.request}`,
      );
    }
  }

  /**
   * A client has got the true reply. What has failed for it may be executed at any time later.
   * @throws Violation if a later one for the same key had been executed before
   */
  answered(tags: readonly string[]): void {
    if (!this.isOrdered) return;
    const wrong = tags.map((tag) => this.overtaken.get(tag)).find((one) => one !== undefined);
    if (wrong !== undefined) throw new Violation(wrong);
  }

  /** A server is about to say something nobody asked for. */
  addExtra(text: string): void {
    this.extras.add(text);
  }
}
