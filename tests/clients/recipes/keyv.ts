/** Keyv and cacheable: what takes several keys is one MULTI, so a namespace that is a hash tag; single keys need none. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Cacheable } from "cacheable";
import KeyvRedis, { createKeyv } from "keyv-redis";

const url = `redis://127.0.0.1:${Deno.args[0]}`;
const FRUIT = ["apple", "banana", "cherry", "date", "elder", "fig"];
const entries = FRUIT.map((key) => ({ key, value: `a ${key}`, ttl: 60_000 }));
const values = FRUIT.map((key) => `a ${key}`);

const tagged = createKeyv(url, { namespace: "{app}", throwOnErrors: true });
await tagged.setMany(entries);
deepStrictEqual(await tagged.getMany(FRUIT), values);
await tagged.delete(FRUIT);
deepStrictEqual(await tagged.getMany(FRUIT), FRUIT.map(() => undefined));
await tagged.disconnect();

const spread = createKeyv(url, { namespace: "app", throwOnErrors: true });
// Not silently, as it would be without throwOnErrors.
strictEqual(await spread.setMany(entries).then(() => "stored", () => "refused"), "refused");
await Promise.all(entries.map(({ key, value, ttl }) => spread.set(key, value, ttl)));
deepStrictEqual(await spread.getMany(FRUIT), values);
await spread.disconnect();

const cache = new Cacheable({ secondary: new KeyvRedis(url), namespace: "{cache}" });
const failures: unknown[] = [];
cache.on("error", (error: unknown) => failures.push(error));
strictEqual(await cache.setMany(entries), true);
await cache.primary.clear();
deepStrictEqual(await cache.getMany(FRUIT), values);
deepStrictEqual(failures, []);
await cache.disconnect();
Deno.exit(0);
