/** Bee-Queue: a queue under one hash tag. */
import { strictEqual } from "node:assert/strict";
import Queue from "bee-queue";

const queue = new Queue("mail", {
  prefix: "{bq}",
  redis: { host: "127.0.0.1", port: Number(Deno.args[0]) },
});
const succeeded = new Promise((resolve) =>
  queue.on("succeeded", (_job: unknown, result: unknown) => resolve(result))
);
queue.process(async (job: { data: { to: string } }) => `sent ${job.data.to}`);
await queue.createJob({ to: "ann" }).save();
strictEqual(await succeeded, "sent ann");
await queue.close();
Deno.exit(0);
