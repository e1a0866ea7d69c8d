"use strict";
const { createClient, WatchError } = require("redis");
const { step, failure, main, pause } = require("./steps.js");

main(async (port) => {
  const open = async (options) => {
    const client = createClient({ socket: { port, reconnectStrategy: false }, ...options });
    client.on("error", () => {});
    return client.connect();
  };
  const r = await open({});

  await step("`set`, `get`, `mSet`, `mGet`, `del`, `exists`, `incr`, `incrBy`, `append`", async () => [
    await r.set("a", "1"), await r.get("a"), await r.mSet({ b: "two", c: "three" }), await r.mGet(["a", "b", "d"]),
    await r.incr("a"), await r.incrBy("a", 40), await r.append("b", "!"), await r.exists(["a", "d"]),
    await r.del(["a", "d"]), await r.get("a"), await r.getDel("b"),
  ]);
  await step("times: `set` with `expiration`, `NX`, `setEx`, `expire`, `ttl`, `pTTL`, `persist`", async () => {
    const first = [await r.set("t", "v", { EX: 50 }), (await r.ttl("t")) > 40, await r.set("t", "w", { NX: true }),
      await r.expire("t", 90), (await r.pTTL("t")) > 50000, await r.persist("t"), await r.ttl("t"),
      await r.set("t", "x", { expiration: { type: "PX", value: 40000 }, condition: "XX" }), (await r.ttl("t")) > 30];
    const short = [await r.set("s", "1", { PX: 30 }), await r.setEx("s2", 20, "x"), await r.ttl("nothing")];
    await pause(80);
    return [...first, ...short, await r.get("s"), await r.set("s", "2", { EX: 9, NX: true })];
  });
  await step("`multi()`", () => r.multi().set("p", "1").incr("p").get("p").expire("p", 60).exec());
  await step("`watch`", async () => {
    const other = await open({});
    await r.watch("p");
    await other.set("p", "elsewhere");
    const failed = await failure(() => r.multi().set("p", "5").exec());
    await r.watch("p");
    return [failed, WatchError.name, await r.multi().set("p", "6").exec(), await r.get("p")];
  });
  await step("`execAsPipeline`, many at once", async () => {
    const all = await Promise.all(Array.from({ length: 30 }, () => r.incr("many")));
    return [all.length, await r.get("many"), await r.multi().incr("many").get("many").execAsPipeline()];
  });
  await step("another database: `database: 3`, `select`", async () => {
    const other = await open({ database: 3 });
    const first = [await other.set("only here", "1"), await r.get("only here"), await other.get("only here")];
    await other.select(4);
    return [...first, await other.get("only here"), await other.dbSize()];
  });
  await step("`RESP: 2`, `RESP: 3`", async () => {
    const [two, three] = [await open({ RESP: 2 }), await open({ RESP: 3 })];
    return [await two.set("r", "2"), await three.get("r"), await three.get("none"), await two.mGet(["r", "none"])];
  });
  await step("`eval`, `evalSha`", async () => {
    const script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    const sha = await r.scriptLoad(script);
    const first = await r.eval(script, { keys: ["d"], arguments: ["4"] });
    return [first, await r.evalSha(sha, { keys: ["d"], arguments: ["5"] })];
  });
  await step("`flushDb`, `dbSize`, `ping`", async () => [await r.flushDb(), await r.dbSize(), await r.ping()]);
  await step("`hSet`", () => r.hSet("hash", "field", "1"));
  await step("`lPush`", () => r.lPush("list", "1"));
  await step("`scanIterator`", async () => {
    for await (const keys of r.scanIterator()) return keys.length;
    return 0;
  });
  await step("a list in `multi()`", () => r.multi().set("before", "1").lPush("list", "1").set("after", "1").exec(),
    () => r.mGet(["before", "after"]));
  await step("client-side caching", async () => {
    const cached = await open({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0 } });
    return [await cached.set("a", "1"), await cached.get("a")];
  });
});
