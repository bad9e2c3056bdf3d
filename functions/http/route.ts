// A route as data: what the application serves, what the API's document tells of it, and what tests ask of it.
import type { z } from "zod";
import type { Scope } from "../../schemas/api-key.ts";
import type { ProblemCode } from "../../schemas/problems.ts";
import type { Ports } from "../ports/ports.ts";
import type { App } from "./app.ts";

export type Answered = { status: 200 | 201 | 202; schema: z.ZodType };

export type Told = {
  /** One line, for the document. */
  summary: string;
  answer: Answered;
  /** What it is refused with beyond what every route of its kind is. */
  problems?: readonly ProblemCode[];
  /** A body that it takes, where the schema's own examples do not make one. */
  example?: object;
};

export type Route = Told & {
  /** operator: an API key. agent: a host's signature. open: nobody is asked who he is. */
  door: "operator" | "agent" | "open";
  method: "get" | "post" | "delete";
  /** As Hono has it: `/v1/clusters/:cluster`. */
  path: string;
  scope: Scope | null;
  query: z.ZodType | null;
  body: z.ZodType | null;
  mount: (app: App, ports: Ports) => void;
};
