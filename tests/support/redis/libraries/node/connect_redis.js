"use strict";
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");
const { step, main } = require("./steps.js");

main(async (port) => {
  const client = await createClient({ socket: { port } }).connect();
  const store = new RedisStore({ client });
  const data = { user: "ann", cookie: { originalMaxAge: 60000 } };

  // One request through the middleware: what a page does with its session, and the cookie that comes back.
  const visit = (cookie, page) => new Promise((resolve, reject) => {
    const headers = {};
    const response = {
      getHeader: (name) => headers[name], setHeader: (name, value) => { headers[name] = value; },
      writeHead() { return this; }, write: () => true, _implicitHeader() {}, headersSent: false,
      end() { resolve([seen, (headers["Set-Cookie"] || [cookie]).toString().split(";")[0]]); },
    };
    let seen;
    const request = { headers: { cookie }, url: "/", originalUrl: "/", method: "GET", connection: {} };
    session({ store, secret: "none", resave: false, saveUninitialized: false })(request, response, async (problem) => {
      if (problem) return reject(problem);
      seen = await page(request.session);
      response.writeHead(200);
      response.end();
    });
  });

  await step("sessions of express-session: open, read, `regenerate`, `destroy`", async () => {
    const [, cookie] = await visit(undefined, (s) => { s.user = "ann"; });
    const [user] = await visit(cookie, (s) => s.user);
    const [, fresh] = await visit(cookie, (s) => new Promise((resolve) => s.regenerate(() => { resolve(); })));
    const [gone] = await visit(cookie, (s) => s.user || "nobody");
    const [, again] = await visit(undefined, (s) => { s.user = "bob"; });
    await visit(again, (s) => new Promise((resolve) => s.destroy(resolve)));
    const [nobody] = await visit(again, (s) => s.user || "nobody");
    return [user, gone, nobody, typeof fresh];
  });
  await step("the store: `set`, `get`, `touch`, `destroy`", async () => [
    await store.set("one", data), await store.get("one"), await store.touch("one", data), await store.get("two"),
    await store.destroy("one"), await store.get("one"),
  ].map((value) => (value === undefined ? null : value)));
  await store.set("kept", data);
  await step("`length`", () => store.length());
  await step("`all`", async () => (await store.all()).length);
  await step("`clear`", () => store.clear(), () => store.get("kept"));
});
