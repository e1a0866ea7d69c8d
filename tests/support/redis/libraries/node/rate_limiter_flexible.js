"use strict";
const Redis = require("ioredis");
const { createClient } = require("redis");
const { RateLimiterRedis } = require("rate-limiter-flexible");
const { step, main } = require("./steps.js");

const short = ({ consumedPoints, remainingPoints, isFirstInDuration, msBeforeNext }) =>
  [consumedPoints, remainingPoints, isFirstInDuration, msBeforeNext > 0 && msBeforeNext <= 60000];

const full = (answer) => ["full", ...short(answer)];

main(async (port) => {
  const use = (limiter) => async () => {
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push(await limiter.consume("user").then(short, full));
    seen.push(short(await limiter.get("user")), await limiter.get("nobody"));
    seen.push(short(await limiter.reward("user", 2)), short(await limiter.penalty("user", 1)));
    seen.push(short(await limiter.set("user", 2, 30)), await limiter.delete("user"));
    seen.push(short(await limiter.block("user", 40)), await limiter.consume("user").then(short, full));
    return seen;
  };
  const limits = { points: 3, duration: 60 };
  const io = new RateLimiterRedis({ storeClient: new Redis({ port }), keyPrefix: "io", ...limits });
  await step("with ioredis: `consume`, `get`, `reward`, `penalty`, `set`, `block`, `delete`", use(io));
  const client = await createClient({ socket: { port } }).connect();
  const node = new RateLimiterRedis({ storeClient: client, useRedisPackage: true, keyPrefix: "node", ...limits });
  await step("with node-redis: the same", use(node));
});
