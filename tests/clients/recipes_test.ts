/**
 * The recipes of docs/recipes.md: what queues, locks, caches and sessions need to work over several servers, each with its real library.
 *
 *   recipes/NAME ──► pool "many" (three servers, hash_tag {}) or "one" (one server) ──► exit code 0
 */
import { strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { DENO, PYTHON, ROOT } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";

const DENO_RUN = [DENO, "run", "-A", "--no-check"];

const RECIPES: readonly { file: string; program: readonly string[]; pool: "many" | "one" }[] = [
  { file: "bullmq.ts", program: DENO_RUN, pool: "many" },
  { file: "bull.ts", program: DENO_RUN, pool: "many" },
  { file: "bee_queue.ts", program: DENO_RUN, pool: "many" },
  { file: "redlock.ts", program: DENO_RUN, pool: "many" },
  { file: "keyv.ts", program: DENO_RUN, pool: "many" },
  { file: "celery_tasks.py", program: [PYTHON], pool: "many" },
  { file: "django_cache.py", program: [PYTHON], pool: "many" },
  { file: "sessions.php", program: ["php"], pool: "many" },
  { file: "sidekiq_jobs.rb", program: ["ruby", "-W0"], pool: "one" },
];
/** Each takes one to six seconds; it is there for what hangs. */
const RECIPE_MAX_SECONDS = "120";

Deno.test("the recipes of docs/recipes.md work over several servers", async (t) => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const ports = { many: freePort(), one: freePort() };
  const yml = "ringmaster: { workers: 2 }\n" + poolYml({
    many: { listen: `127.0.0.1:${ports.many}`, servers, hash_tag: '"{}"' },
    one: { listen: `127.0.0.1:${ports.one}`, servers: servers.slice(0, 1) },
  });
  await f.proxy("compiled", yml);
  for (const { file, program, pool } of RECIPES) {
    await t.step(`${file}, pool of ${pool}`, async () => {
      const script = `${ROOT}/tests/clients/recipes/${file}`;
      const args = [RECIPE_MAX_SECONDS, ...program, script, String(ports[pool])];
      const { code, stdout, stderr } = await run("timeout", args);
      strictEqual(code, 0, `${stdout}\n${stderr}`);
    });
  }
});
