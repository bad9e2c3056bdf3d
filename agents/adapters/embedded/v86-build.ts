// The one build of v86 that this process runs: its version, the hash of its machine code, the code compiled once.
// Its state format is bound to the build, so both ends of a stream compare these.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type V86Build = { version: string; wasmSha256: string; module: WebAssembly.Module };

const require = createRequire(import.meta.url);

/** @returns the version alone, without loading anything */
export function v86Version(): string {
  const description: unknown = require("v86/package.json");
  const version = (description as { version?: unknown }).version;
  if (typeof version !== "string") throw new Error("v86/package.json has no version");
  return version;
}

let loaded: Promise<V86Build> | null = null;

export function loadV86Build(): Promise<V86Build> {
  loaded ??= compile();
  return loaded;
}

async function compile(): Promise<V86Build> {
  const code = readFileSync(join(dirname(require.resolve("v86")), "v86.wasm"));
  return {
    version: v86Version(),
    wasmSha256: createHash("sha256").update(code).digest("hex"),
    module: await WebAssembly.compile(code),
  };
}
