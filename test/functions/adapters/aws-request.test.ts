import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { askAws, awsEndpoint, signAwsRequest } from "../../../functions/adapters/aws-request.ts";
import { readParameters } from "../../../functions/adapters/ssm-secrets.ts";
import { type AwsServices, sdkAuthorization, startAwsServices } from "../../support/aws-services.ts";

const region = "eu-west-1";
const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalr/K7MDENG+bPx", sessionToken: "FwoG/x+y==" };
const { sessionToken: _, ...lasting } = credentials;
const sender = { credentials: async () => credentials, nowMs: Date.now };
let services: AwsServices;
before(async () => {
  services = await startAwsServices({ region, credentials });
});
after(() => services.stop());

test("a request is signed as the AWS SDK signs it", async () => {
  const requests = [
    {
      service: "sts",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: "Action=GetCallerIdentity",
    },
    {
      service: "ssm",
      headers: { "content-type": "application/x-amz-json-1.1", "x-amz-target": "X.Y" },
      body: '{"é":1}',
    },
    { service: "ssm", headers: { "x-amz-target": "  A.B  " }, body: "" },
  ];
  for (const request of requests) {
    for (const endpoint of ["https://sts.eu-west-1.amazonaws.com", "http://127.0.0.1:4566/"]) {
      for (const by of [credentials, lasting]) {
        for (const atMs of [Date.UTC(2026, 0, 2, 3, 4, 5, 678), Date.UTC(2030, 11, 31, 23, 59, 59, 999)]) {
          const whole = { ...request, region, endpoint };
          const { authorization } = await signAwsRequest(whole, by, atMs);
          assert.equal(authorization, await sdkAuthorization(whole, by, atMs));
        }
      }
    }
  }
});

test("parameters are read by their names below a path, and what is missing is named", async () => {
  services.parameters.set("/drover/x/signing-key", "one\n");
  services.parameters.set("/drover/x/bootstrap-key", "two");
  const options = { ...sender, region, endpoint: services.endpoint, path: "/drover/x" };
  assert.deepEqual(await readParameters(options, ["bootstrap-key", "signing-key"]), {
    "signing-key": "one",
    "bootstrap-key": "two",
  });
  await assert.rejects(readParameters(options, ["signing-key", "other"]), {
    message: "there is no parameter /drover/x/other in eu-west-1",
  });
});

test("I10: a refusal tells its code, and nothing of what was sent", async () => {
  const wrong = { ...sender, credentials: async () => ({ ...credentials, secretAccessKey: "another" }) };
  const request = {
    service: "sts",
    region,
    endpoint: services.endpoint,
    headers: { "content-type": "text/plain" },
    body: "",
  };
  await assert.rejects(askAws(request, wrong), { message: "sts refused with status 403: SignatureDoesNotMatch" });
  const json = async () =>
    new Response('{"__type":"com.amazon#AccessDeniedException","message":"s3cret"}', { status: 400 });
  await assert.rejects(askAws(request, { ...sender, fetch: json }), {
    message: "sts refused with status 400: AccessDeniedException",
  });
  const html = async () => new Response("<html>s3cret</html>", { status: 502 });
  await assert.rejects(askAws(request, { ...sender, fetch: html }), {
    message: "sts refused with status 502: no code",
  });
});

test("a service is asked where the region has it", () => {
  assert.equal(awsEndpoint("sts", "eu-west-1"), "https://sts.eu-west-1.amazonaws.com");
  assert.equal(awsEndpoint("ssm", "cn-north-1"), "https://ssm.cn-north-1.amazonaws.com.cn");
});
