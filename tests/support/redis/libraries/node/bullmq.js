"use strict";
const { Queue } = require("bullmq");
const Redis = require("ioredis");
const { step, main } = require("./steps.js");

main(async (port) => {
  const queue = new Queue("tasks", { connection: { port, maxRetriesPerRequest: 1, retryStrategy: null } });
  const r = new Redis({ port });
  queue.on("error", () => {});
  await step("`add`", async () => (await queue.add("task", { x: 1 })).name, () => r.dbsize());
});
