import type { Route } from "../http/operator-route.ts";

/** Open to everyone: says only that it answers. */
export const health: Route = (app) => {
  app.get("/v1/health", (c) => c.json({ status: "ok" }));
};
