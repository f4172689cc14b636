/** Bull: a queue under one hash tag. */
import { strictEqual } from "node:assert/strict";
import Queue from "bull";

const queue = new Queue("letters", {
  prefix: "{bull}",
  redis: { host: "127.0.0.1", port: Number(Deno.args[0]) },
});
queue.process(async (job) => `sent ${job.data.to}`);
const job = await queue.add({ to: "ann" });
strictEqual(await job.finished(), "sent ann");
const delayed = await queue.add({ to: "bob" }, { delay: 20, priority: 2 });
strictEqual(await delayed.finished(), "sent bob");
strictEqual((await queue.getJobCounts()).completed, 2);
strictEqual((await queue.getWorkers()).length, 1);
await queue.close();
Deno.exit(0);
