/** BullMQ: a queue under one hash tag. A job is done, a repeated scheme of parent and child too, and the worker is listed. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

const connection = { host: "127.0.0.1", port: Number(Deno.args[0]) };
const options = { connection, prefix: "{bull}" };

const queue = new Queue("mail", options);
const events = new QueueEvents("mail", options);
const worker = new Worker("mail", async (job) => `sent ${job.data.to}`, options);
await Promise.all([events.waitUntilReady(), worker.waitUntilReady()]);
const job = await queue.add("welcome", { to: "ann" });
strictEqual(await job.waitUntilFinished(events), "sent ann");
const delayed = await queue.add("later", { to: "bob" }, { delay: 20, priority: 2 });
strictEqual(await delayed.waitUntilFinished(events), "sent bob");
const flow = new FlowProducer(options);
const children = [{ name: "child", queueName: "mail", data: { to: "eve" } }];
const parent = await flow.add({ name: "parent", queueName: "mail", data: { to: "joe" }, children });
strictEqual(await parent.job.waitUntilFinished(events), "sent joe");
strictEqual((await queue.getWorkers()).length, 1);
deepStrictEqual(await queue.getJobCounts("completed", "failed"), { completed: 4, failed: 0 });
await Promise.all([worker.close(), flow.close(), events.close()]);
await queue.close();
Deno.exit(0);
