// The steps of one library, run in order at one server: `node ioredis.js PORT` prints what each gave, or how it failed.
"use strict";

const port = Number(process.argv[2]);
const results = {};

// `look` reads what the step might have changed, before and after it.
async function step(name, call, look = () => null) {
  if (name in results) throw new Error(`twice: ${name}`);
  const before = await look();
  let result;
  try {
    result = { gave: (await call()) ?? null };
  } catch (problem) {
    result = { failed: told(problem) };
  }
  results[name] = { ...result, before, after: await look() };
}

function told(problem) {
  const parts = [String(problem && problem.stack), String(problem && problem.message)];
  for (const within of (problem && (problem.previousErrors || problem.errors)) || []) parts.push(told(within));
  if (problem && problem.replies) for (const reply of problem.replies) parts.push(String(reply));
  return parts.join("\n");
}

async function failure(call) {
  try {
    await call();
  } catch (problem) {
    return problem.constructor.name;
  }
  return "nothing was raised";
}

function main(steps) {
  steps(port).then(
    () => {
      process.stdout.write(JSON.stringify(results));
      process.exit(0); // no connection left open keeps it waiting
    },
    (problem) => {
      process.stderr.write(told(problem));
      process.exit(1);
    },
  );
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

module.exports = { step, failure, main, pause };
