// Problems as RFC 9457 documents.
import type { Context } from "hono";
import { type Problem, type ProblemDetails, problems } from "../../schemas/problems.ts";
import type { Signed } from "../../schemas/signing.ts";
import type { Env } from "./app.ts";

export function problemResponse(c: Context<Env>, problem: Problem, extra: { record?: Signed } = {}): Response {
  const { status, retry, title } = problems[problem.code];
  const details: ProblemDetails = {
    type: `urn:drover:problem:${problem.code}`,
    title,
    status,
    code: problem.code,
    detail: problem.detail,
    requestId: c.var.requestId,
    retry,
    ...(problem.errors ? { errors: problem.errors } : {}),
    ...(problem.holder ? { holder: problem.holder } : {}),
  };
  c.set("problem", problem.code);
  const headers: { [name: string]: string } = { "content-type": "application/problem+json" };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  if (retry === "later" && status === 503) headers["retry-after"] = "1";
  return c.newResponse(JSON.stringify({ ...details, ...extra }), status as 400, headers);
}

export function isProblem(value: object): value is Problem {
  return "code" in value && "detail" in value;
}
