/**
 * Everything a test starts, stopped in reverse order when the test ends, however it ends:
 *
 *   await using f = new Fixture();
 *   const redis = await f.redis();
 *   const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [redis] } }));
 *   const client = await f.client(proxy);
 *   strictEqual(await client.command("SET", "a", "1"), "OK");
 */
import { RawClient, type Target } from "./client.ts";
import {
  type Proxy,
  type ProxyOptions,
  type Server,
  type ServerOptions,
  startMemcached,
  startProxy,
  startRedis,
  type Subject,
  tempDir,
} from "./servers.ts";

export class Fixture implements AsyncDisposable {
  readonly #started: AsyncDisposable[] = [];
  #dir: string | null = null;

  /** A fresh folder, removed at the end. Paths in it are short enough for unix sockets. */
  get dir(): string {
    return this.#dir ??= tempDir();
  }

  /** Stops `thing` at the end too. */
  add<T extends AsyncDisposable>(thing: T): T {
    this.#started.push(thing);
    return thing;
  }

  async redis(options: ServerOptions = {}): Promise<Server> {
    return this.add(await startRedis({ dir: this.dir, ...options }));
  }

  async memcached(options: ServerOptions = {}): Promise<Server> {
    return this.add(await startMemcached({ dir: this.dir, ...options }));
  }

  async proxy(subject: Subject, yml: string, options: ProxyOptions = {}): Promise<Proxy> {
    return this.add(await startProxy(subject, yml, { dir: this.dir, ...options }));
  }

  async client(to: Target | { target: Target }): Promise<RawClient> {
    return this.add(await RawClient.connect("target" in to ? to.target : to));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (const thing of this.#started.reverse()) {
      try {
        await thing[Symbol.asyncDispose]();
      } catch (error) {
        failures.push(error);
      }
    }
    this.#started.length = 0;
    if (this.#dir !== null) await Deno.remove(this.#dir, { recursive: true }).catch(() => {});
    if (failures.length > 0) throw new AggregateError(failures, "not everything could be stopped");
  }
}
