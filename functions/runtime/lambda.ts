// The control plane on AWS Lambda: `handler` behind an HTTP API, `tidy` behind a schedule, the last net. An instance is
// frozen once it has answered, so nothing is left for after the answer.
import process from "node:process";
import { Hono } from "hono";
import { handle } from "hono/aws-lambda";
import { type Cloud, createCloud, serve } from "./cloud.ts";
import { readCloudConfiguration, readCredentials } from "./cloud-environment.ts";

let cloud: Cloud | null = null;

function open(): Cloud {
  cloud ??= createCloud(readCloudConfiguration(process.env), { credentials: readCredentials(process.env) });
  return cloud;
}

// Loading is when Lambda gives the most of its processor. A bad configuration is told with each request instead.
try {
  open();
} catch {}

const front = new Hono();
front.all("*", (c) => serve(open, c.req.raw));

export const handler = handle(front);

export async function tidy(): Promise<void> {
  await open().tidy();
}
