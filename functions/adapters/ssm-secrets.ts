// Secrets as encrypted parameters of AWS Systems Manager, read when the deployment opens: whoever may read a function's
// configuration reads none of them there.
import { z } from "zod";
import { type AwsSender, askAws, awsEndpoint } from "./aws-request.ts";

const Answer = z.object({ Parameters: z.array(z.object({ Name: z.string(), Value: z.string() })) });

/** @param path in front of the names, such as /drover/production
 *  @throws naming what is not there */
export async function readParameters<Name extends string>(
  options: AwsSender & { region: string; endpoint: string | null; path: string },
  names: readonly Name[],
): Promise<{ [N in Name]: string }> {
  const { region, endpoint, path } = options;
  const answer = await askAws(
    {
      service: "ssm",
      region,
      endpoint: endpoint ?? awsEndpoint("ssm", region),
      headers: { "content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameters" },
      body: JSON.stringify({ Names: names.map((name) => `${path}/${name}`), WithDecryption: true }),
    },
    options,
  );
  const { Parameters } = Answer.parse(JSON.parse(answer));
  const found = new Map(Parameters.map(({ Name: name, Value }) => [name, Value.trim()]));
  const missing = names.map((name) => `${path}/${name}`).filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`there is no parameter ${missing.join(" and no ")} in ${region}`);
  return Object.fromEntries(names.map((name) => [name, found.get(`${path}/${name}`)])) as { [N in Name]: string };
}
