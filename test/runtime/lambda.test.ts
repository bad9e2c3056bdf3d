// The built Lambda bundle, called with the events of an HTTP API (API Gateway, payload format 2.0).
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { bundle } from "../../infra/bundle.ts";
import { asEvent, asResponse, type LambdaHandler } from "../../infra/local/lambda-events.ts";
import { startAwsServices } from "../support/aws-services.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { suiteThrough } from "./door.ts";

suiteThrough("the Lambda function", async (variables, { signingKey, apiKey }) => {
  const folder = await temporaryFolder();
  const file = `${folder.path}/lambda.mjs`;
  await writeFile(file, (await bundle("lambda")).source);
  const { handler, tidy }: { handler: LambdaHandler; tidy: () => Promise<void> } = await import(
    pathToFileURL(file).href
  );
  const complaints: unknown[] = [];
  console.error = (line: unknown) => complaints.push(line);
  const ask = async (path: string, init: RequestInit) =>
    asResponse(await handler(await asEvent(new Request(`https://drover.test${path}`, init)), {}));

  const unset = await ask("/v1/health", { method: "GET" });
  assert.equal(unset.status, 500, "without its variables it serves nothing");
  assert.match(String(complaints[0]), /DROVER_TABLE is missing/);

  const services = await startAwsServices({
    region: variables["AWS_REGION"] ?? "",
    credentials: {
      accessKeyId: variables["AWS_ACCESS_KEY_ID"] ?? "",
      secretAccessKey: variables["AWS_SECRET_ACCESS_KEY"] ?? "",
    },
  });
  const secrets = { DROVER_SECRETS: "ssm:/drover/doors", DROVER_SSM_ENDPOINT: services.endpoint };
  Object.assign(process.env, variables, secrets);
  const missing = await ask("/v1/health", { method: "GET" });
  assert.equal(missing.status, 500, "without its secrets it serves nothing");
  assert.match(
    String(complaints.at(-1)),
    /DROVER_SECRETS .* no parameter \/drover\/doors\/signing-key and no .*\/bootstrap-key/,
  );
  services.parameters.set("/drover/doors/signing-key", signingKey).set("/drover/doors/bootstrap-key", apiKey);

  return {
    fetch: ask,
    tidy,
    async close() {
      await services.stop();
      await folder.remove();
    },
  };
});
