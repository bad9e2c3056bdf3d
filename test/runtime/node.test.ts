// The Node server as a process, over a socket.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { suiteThrough } from "./door.ts";

const program = fileURLToPath(new URL("../../functions/runtime/node.ts", import.meta.url));

suiteThrough("the Node server", async (variables, { signingKey, apiKey }) => {
  const folder = await temporaryFolder();
  await writeFile(`${folder.path}/signing`, signingKey);
  await writeFile(`${folder.path}/key`, apiKey);
  const files = {
    DROVER_SIGNING_KEY_FILE: `${folder.path}/signing`,
    DROVER_BOOTSTRAP_KEY_FILE: `${folder.path}/key`,
  };
  const child = spawn(process.execPath, [program], {
    env: { ...variables, ...files, DROVER_LISTEN: "127.0.0.1:0" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const url = JSON.parse(line).listening;
  return {
    fetch: (path, init) => fetch(`${url}${path}`, init),
    tidy: null,
    async close() {
      child.kill("SIGTERM");
      await once(child, "exit");
      await folder.remove();
    },
  };
});
