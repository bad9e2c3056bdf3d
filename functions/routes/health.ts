import { z } from "zod";
import type { Route } from "../http/route.ts";

/** Open to everyone: says only that it answers. */
export const health: Route = {
  door: "open",
  method: "get",
  path: "/v1/health",
  scope: null,
  query: null,
  body: null,
  summary: "Says that it answers.",
  answer: { status: 200, schema: z.object({ status: z.literal("ok") }) },
  mount: (app) => {
    app.get("/v1/health", (c) => c.json({ status: "ok" }));
  },
};
