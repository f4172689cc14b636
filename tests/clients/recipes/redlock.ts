/** Redlock: a lock of one resource as it is, one of several under one hash tag. */
import { strictEqual } from "node:assert/strict";
import { Redis } from "ioredis5";
import Redlock from "redlock";

const client = new Redis({ host: "127.0.0.1", port: Number(Deno.args[0]) });
const redlock = new Redlock([client], { retryCount: 0 });
const free = async (resources: string | string[]) => {
  try {
    await (await redlock.lock(resources, 10_000)).unlock();
    return true;
  } catch {
    return false;
  }
};
const lock = await redlock.lock("stock", 10_000);
strictEqual(await free("stock"), false);
await lock.extend(10_000);
await lock.unlock();
strictEqual(await free("stock"), true);
const both = await redlock.lock(["{order7}:stock", "{order7}:bill"], 10_000);
strictEqual(await free("{order7}:bill"), false);
await both.unlock();
strictEqual(await free("{order7}:bill"), true);
client.disconnect();
Deno.exit(0);
