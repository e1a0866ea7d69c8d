"use strict";
const Redis = require("ioredis");
const { step, main, pause } = require("./steps.js");

main(async (port) => {
  const r = new Redis({ port });
  const other = new Redis(`redis://127.0.0.1:${port}/3`);

  await step("`set`, `get`, `mset`, `mget`, `del`, `exists`, `incr`, `incrby`, `append`, `getBuffer`", async () => [
    await r.set("a", "1"), await r.get("a"), await r.mset({ b: "two", c: "three" }), await r.mget("a", "b", "d"),
    await r.incr("a"), await r.incrby("a", 40), await r.append("b", "!"), (await r.getBuffer("b")).toString("hex"),
    await r.exists("a", "d"), await r.del("a", "d"), await r.get("a"),
  ]);
  await step("times: `set` with `EX`, `PX`, `NX`, `setex`, `expire`, `ttl`, `pttl`, `persist`", async () => {
    const first = [await r.set("t", "v", "EX", 50), (await r.ttl("t")) > 40, await r.set("t", "w", "NX"),
      await r.expire("t", 90), (await r.pttl("t")) > 50000, await r.persist("t"), await r.ttl("t")];
    const short = [await r.set("s", "1", "PX", 30), await r.setex("s2", 20, "x"), await r.ttl("nothing")];
    await pause(80);
    return [...first, ...short, await r.get("s"), await r.set("s", "2", "EX", 9, "NX")];
  });
  await step("`multi()`, `watch`", async () => {
    const first = await r.multi().set("p", 1).incr("p").get("p").expire("p", 60).exec();
    await r.watch("p");
    await other.set("p", "in another database");
    const second = await r.multi().set("p", 5).exec();
    await r.watch("p");
    await r.set("p", 7);
    return [first, second, await r.multi().set("p", 8).exec(), await r.get("p")];
  });
  await step("`multi({ pipeline: false })`", async () => {
    await r.multi({ pipeline: false });
    const queued = [await r.set("q", 1), await r.incr("q")];
    return [queued, await r.exec()];
  });
  await step("`pipeline()`", () => r.pipeline().set("l", "1").incr("l").get("l").del("l").exec());
  await step("many at once, `enableAutoPipelining`", async () => {
    const automatic = new Redis({ port, enableAutoPipelining: true });
    const all = await Promise.all(Array.from({ length: 30 }, () => automatic.incr("many")));
    return [all.length, await automatic.get("many")];
  });
  await step("another database: `db: 3`", async () => [
    await other.set("only here", 1), await r.get("only here"), await other.get("only here"), await other.flushdb(),
  ]);
  await step("`defineCommand`, `eval`", async () => {
    r.defineCommand("double", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1]) * 2" });
    return [await r.double("d", 4), await r.double("d", 5), await r.eval("return ARGV[1]", 0, "x")];
  });
  await step("`flushdb`, `dbsize`, `ping`", async () => [await r.flushdb(), await r.dbsize(), await r.ping()]);
  await step("`hset`", () => r.hset("hash", "field", 1));
  await step("`lpush`", () => r.lpush("list", 1));
  await step("`keys`", async () => (await r.keys("*")).sort());
  await step("`scanStream`", () => new Promise((resolve, reject) => {
    r.scanStream().on("data", () => {}).on("end", () => resolve("ended")).on("error", reject);
  }));
  await step("`subscribe`", () => new Redis({ port }).subscribe("channel"));
  await step("a list in `multi()`", () => r.multi().set("before", 1).lpush("list", 1).set("after", 1).exec(),
    () => r.mget("before", "after"));
});
