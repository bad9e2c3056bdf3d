// What Drover asks of AWS beside table and queues, on loopback: parameters (SSM) and sessions of a role (STS). Unlike the
// servers for table and queues it checks every signature, with the signer of the AWS SDK.
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { SignatureV4 } from "@smithy/signature-v4";

type Credentials = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
export type RoleSession = Credentials & { roleArn: string; name: string; seconds: number; policy: unknown };

export type AwsServices = {
  endpoint: string;
  parameters: Map<string, string>;
  sessions: RoleSession[];
  /** Refuses what is asked from now on, by this code; null: it does as it is asked. */
  refusal: { current: string | null };
  stop(): Promise<void>;
};

/** For the SDK's signer: its hash, on Node. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(secret));
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return new Uint8Array(this.#hash.digest());
  }
  reset(): void {}
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === "string") return Buffer.from(data);
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/** The Authorization that the SDK would send with this request. */
export async function sdkAuthorization(
  request: { service: string; region: string; endpoint: string; headers: { [name: string]: string }; body: string },
  credentials: Credentials,
  nowMs: number,
): Promise<string> {
  const { service, region, endpoint, headers, body } = request;
  const signer = new SignatureV4({ credentials, region, service, sha256: Sha256, applyChecksum: false });
  const { protocol, hostname, host, pathname } = new URL(endpoint);
  const signed = await signer.sign(
    { method: "POST", protocol, hostname, path: pathname, headers: { ...headers, host }, body },
    { signingDate: new Date(nowMs) },
  );
  return signed.headers["authorization"] ?? "";
}

export async function startAwsServices(options: { region: string; credentials: Credentials }): Promise<AwsServices> {
  const { region, credentials } = options;
  const parameters = new Map<string, string>();
  const sessions: RoleSession[] = [];
  const refusal: AwsServices["refusal"] = { current: null };
  let endpoint = "";

  async function isSigned(request: IncomingMessage, body: string): Promise<boolean> {
    const given = request.headers.authorization ?? "";
    const [, service = "", names = ""] = /\/(sts|ssm)\/aws4_request, SignedHeaders=([a-z0-9;-]+),/.exec(given) ?? [];
    const kept = names.split(";").filter((name) => name !== "host" && name !== "x-amz-date");
    const headers = Object.fromEntries(kept.map((name) => [name, String(request.headers[name])]));
    const [, ...parts] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(request.headers["x-amz-date"])) ?? [];
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number);
    const atMs = Date.UTC(year, month - 1, day, hour, minute, second);
    return given === (await sdkAuthorization({ service, region, endpoint, headers, body }, credentials, atMs));
  }

  /** As STS words it, which repeats what was signed. */
  const errorXml = (code: string, request: IncomingMessage) =>
    `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>The canonical string should have been ` +
    `x-amz-security-token:${request.headers["x-amz-security-token"]}</Message></Error></ErrorResponse>`;

  async function answer(request: IncomingMessage, body: string): Promise<{ status: number; body: string }> {
    if (refusal.current !== null) return { status: 403, body: errorXml(refusal.current, request) };
    if (!(await isSigned(request, body))) return { status: 403, body: errorXml("SignatureDoesNotMatch", request) };
    if (request.headers["x-amz-target"] === "AmazonSSM.GetParameters") {
      const { Names }: { Names: string[] } = JSON.parse(body);
      const Parameters = Names.flatMap((Name) => {
        const Value = parameters.get(Name);
        return Value === undefined ? [] : [{ Name, Value, Type: "SecureString" }];
      });
      const InvalidParameters = Names.filter((name) => !parameters.has(name));
      return { status: 200, body: JSON.stringify({ Parameters, InvalidParameters }) };
    }
    const form = new URLSearchParams(body);
    if (form.get("Action") !== "AssumeRole") return { status: 400, body: errorXml("InvalidAction", request) };
    const session: RoleSession = {
      accessKeyId: `ASIA${randomBytes(8).toString("hex").toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      sessionToken: randomBytes(300).toString("base64"),
      roleArn: form.get("RoleArn") ?? "",
      name: form.get("RoleSessionName") ?? "",
      seconds: Number(form.get("DurationSeconds")),
      policy: JSON.parse(form.get("Policy") ?? "null"),
    };
    sessions.push(session);
    const ends = new Date(Date.now() + session.seconds * 1000).toISOString();
    return {
      status: 200,
      body:
        `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>${session.accessKeyId}</AccessKeyId>` +
        `<SecretAccessKey>${session.secretAccessKey}</SecretAccessKey><SessionToken>${session.sessionToken}` +
        `</SessionToken><Expiration>${ends}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
    };
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { status, body } = await answer(request, Buffer.concat(chunks).toString());
    response.writeHead(status, { "content-type": "text/xml" }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    endpoint,
    parameters,
    sessions,
    refusal,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
