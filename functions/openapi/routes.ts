// The API's document and its page, made once from the routes when somebody asks.
import { z } from "zod";
import type { Route } from "../http/route.ts";
import { makeDocument } from "./document.ts";
import { renderPage } from "./page.ts";

/** Nothing of another site is loaded, no script is run. */
const contentPolicy = "default-src 'none'; style-src 'unsafe-inline'";

export function documentRoutes(routes: readonly Route[]): Route[] {
  let made: { json: string; page: string } | null = null;
  const take = () => {
    if (made) return made;
    const document = makeDocument(routes);
    made = { json: JSON.stringify(document), page: renderPage(document) };
    return made;
  };
  const open = { door: "open", method: "get", scope: null, query: null, body: null } as const;
  return [
    {
      ...open,
      path: "/openapi.json",
      summary: "This API as an OpenAPI document.",
      answer: { status: 200, schema: z.looseObject({ openapi: z.string() }) },
      mount: (app) => {
        app.get("/openapi.json", (c) => c.body(take().json, 200, { "content-type": "application/json" }));
      },
    },
    {
      ...open,
      path: "/docs",
      summary: "This API as a page to read.",
      answer: { status: 200, schema: z.string() },
      mount: (app) => {
        app.get("/docs", (c) => c.html(take().page, 200, { "content-security-policy": contentPolicy }));
      },
    },
  ];
}
