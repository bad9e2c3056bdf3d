// A request to a service of AWS that is asked too rarely for a client of its own, signed by Signature Version 4. What
// such a service says when it refuses may repeat what was sent, session token and all, so its code alone is told.
import { sha256Hex } from "../../schemas/signing.ts";

export type AwsCredentials = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };

export type AwsRequest = {
  service: string;
  region: string;
  /** Without a path. */
  endpoint: string;
  /** Lower case names; `content-type` among them. */
  headers: { [name: string]: string };
  body: string;
};

export type AwsSender = {
  credentials: () => Promise<AwsCredentials>;
  nowMs: () => number;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  timeoutMs?: number;
};

const encoder = new TextEncoder();

/** @returns the body of a good answer
 *  @throws with the service's code where it refused */
export async function askAws(request: AwsRequest, sender: AwsSender): Promise<string> {
  const { fetch = globalThis.fetch, timeoutMs = 3000, nowMs } = sender;
  const headers = await signAwsRequest(request, await sender.credentials(), nowMs());
  const response = await fetch(request.endpoint, {
    method: "POST",
    headers,
    body: request.body,
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  if (response.ok) return text;
  const [, code = "no code"] = /(?:<Code>|"__type"\s*:\s*"(?:[\w.]+#)?)(\w{1,100})/.exec(text) ?? [];
  throw new Error(`${request.service} refused with status ${response.status}: ${code}`);
}

/** @returns the headers to send */
export async function signAwsRequest(
  { service, region, endpoint, headers, body }: AwsRequest,
  { accessKeyId, secretAccessKey, sessionToken }: AwsCredentials,
  nowMs: number,
): Promise<{ [name: string]: string }> {
  const { host, pathname } = new URL(endpoint);
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = time.slice(0, 8);
  const sent = {
    ...headers,
    "x-amz-date": time,
    ...(sessionToken === undefined ? {} : { "x-amz-security-token": sessionToken }),
  };
  const signed = Object.entries({ ...sent, host }).sort(([one], [other]) => (one < other ? -1 : 1));
  const names = signed.map(([name]) => name).join(";");
  const lines = signed.map(([name, value]) => `${name}:${value.trim()}\n`).join("");
  const canonical = ["POST", pathname, "", lines, names, await sha256Hex(body)].join("\n");
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", time, scope, await sha256Hex(canonical)].join("\n");
  let key: Uint8Array<ArrayBuffer> = encoder.encode(`AWS4${secretAccessKey}`);
  for (const part of [day, region, service, "aws4_request"]) key = await hmac(key, part);
  const signature = Array.from(await hmac(key, toSign), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return {
    ...sent,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(text)));
}

/** Where a service of AWS answers in a region. */
export function awsEndpoint(service: string, region: string): string {
  return `https://${service}.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}
