// The Worker's bundle in workerd, the runtime of Cloudflare Workers itself, on this machine.
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Miniflare } from "miniflare";

/** The day whose Workers runtime is meant; wrangler.toml has the same. */
export const compatibilityDate = "2026-07-30";

export type LocalWorker = {
  fetch(path: string, init: RequestInit): Promise<Response>;
  /** As the cron trigger does. */
  tidy(): Promise<void>;
  stop(): Promise<void>;
};

/** What of it is used; its own types come with a package that is not here. */
type Dispatcher = {
  fetch(url: string, init: RequestInit): Promise<Response>;
  scheduled(event: { cron: string }): Promise<{ outcome: string }>;
};

/** @param log takes what the Worker logs; lost without it */
export async function startLocalWorker(
  source: string,
  bindings: { [name: string]: string },
  log: (line: string) => void = () => {},
): Promise<LocalWorker> {
  const miniflare = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.mjs", contents: source }],
    compatibilityDate,
    bindings,
    handleRuntimeStdio(stdout: Readable, stderr: Readable) {
      for (const input of [stdout, stderr]) createInterface({ input }).on("line", log);
    },
  });
  await miniflare.ready;
  const worker = (await miniflare.getWorker()) as unknown as Dispatcher;
  return {
    async fetch(path, init) {
      const { status, headers, body } = await worker.fetch(`http://drover.test${path}`, init);
      return new Response(body, { status, headers: Object.fromEntries(headers) });
    },
    async tidy() {
      const { outcome } = await worker.scheduled({ cron: "* * * * *" });
      if (outcome !== "ok") throw new Error(`the Worker's cron trigger ended: ${outcome}`);
    },
    stop: () => miniflare.dispose(),
  };
}
