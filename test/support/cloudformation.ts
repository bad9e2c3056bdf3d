// What the framework makes of serverless.yml, without an account and without the network, and with what CloudFormation
// would put in place of its functions.
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { bundle, bundlePath } from "../../infra/bundle.ts";

const execute = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Resource = {
  Type: string;
  DeletionPolicy?: string;
  UpdateReplacePolicy?: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type of resource has properties of its own
  Properties: any;
};
export type Template = { Resources: { [name: string]: Resource }; Outputs: { [name: string]: { Value: unknown } } };

export const account = "111122223333";
export const region = "eu-west-1";
export const partition = "aws";

/** @param folder an empty one
 *  @param options further ones of `osls package` */
export async function packageService(
  folder: string,
  options: string[] = [],
): Promise<{ template: Template; zip: string; source: string }> {
  const { source } = await bundle("lambda");
  const file = bundlePath("lambda", join(folder, "dist"));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, source);
  await cp(join(root, "serverless.yml"), join(folder, "serverless.yml"));
  await cp(join(root, "infra", "aws"), join(folder, "infra", "aws"), { recursive: true });
  const osls = join(root, "node_modules", "osls", "bin", "serverless.js");
  // Whatever it would ask of the network goes to a proxy that is not there.
  const nowhere = "http://127.0.0.1:9";
  await execute(process.execPath, [osls, "package", "--package", "out", ...options], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder, CI: "1", HTTPS_PROXY: nowhere, HTTP_PROXY: nowhere },
    timeout: 120_000,
  });
  const made = await readFile(join(folder, "out", "cloudformation-template-update-stack.json"), "utf8");
  return { template: resolve(JSON.parse(made)), zip: join(folder, "out", "drover.zip"), source };
}

/** Puts values in place of Ref, Fn::GetAtt, Fn::Sub and Fn::Join; the id of what is made at deployment is its name here. */
function resolve(template: { Resources: { [name: string]: Resource }; Outputs: Template["Outputs"] }): Template {
  const pseudo: { [name: string]: string } = {
    "AWS::Partition": partition,
    "AWS::Region": region,
    "AWS::AccountId": account,
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
  };
  const ref = (name: string): string => {
    if (name in pseudo) return pseudo[name] ?? "";
    const resource = template.Resources[name];
    if (!resource) throw new Error(`the template refers to ${name}, which it has not`);
    const { Type, Properties } = resource;
    if (Type === "AWS::SQS::Queue") return `https://sqs.${region}.amazonaws.com/${account}/${Properties.QueueName}`;
    if (Type === "AWS::SNS::Topic") return `arn:${partition}:sns:${region}:${account}:${name}`;
    return Properties.TableName ?? Properties.FunctionName ?? name;
  };
  const attribute = (name: string, what: string): string => {
    const resource = template.Resources[name];
    if (!resource) throw new Error(`the template refers to ${name}, which it has not`);
    const { Type, Properties } = resource;
    const local = `${region}:${account}`;
    const known: { [of: string]: string } = {
      "AWS::DynamoDB::Table.Arn": `arn:${partition}:dynamodb:${local}:table/${Properties.TableName}`,
      "AWS::SQS::Queue.Arn": `arn:${partition}:sqs:${local}:${Properties.QueueName}`,
      "AWS::SQS::Queue.QueueName": Properties.QueueName,
      "AWS::IAM::Role.Arn": `arn:${partition}:iam::${account}:role/${name}`,
      "AWS::Lambda::Function.Arn": `arn:${partition}:lambda:${local}:function:${Properties.FunctionName}`,
      "AWS::Events::Rule.Arn": `arn:${partition}:events:${local}:rule/${name}`,
    };
    const value = known[`${Type}.${what}`];
    if (value === undefined) throw new Error(`what is ${what} of a ${Type}?`);
    return value;
  };
  const sub = (text: string): string =>
    text.replace(/\$\{([^}]+)\}/g, (_, name: string) => {
      const [logical = "", what] = name.split(".");
      return what ? attribute(logical, what) : ref(logical);
    });
  const walk = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(walk);
    if (value === null || typeof value !== "object") return value;
    const [[name, of] = ["", null], ...more] = Object.entries(value);
    if (more.length === 0) {
      if (name === "Ref") return ref(String(of));
      if (name === "Fn::GetAtt" && Array.isArray(of)) return attribute(String(of[0]), String(of[1]));
      if (name === "Fn::Sub") return sub(String(of));
      if (name === "Fn::Join" && Array.isArray(of)) return (walk(of[1] ?? null) as string[]).join(String(of[0]));
      if (name.startsWith("Fn::")) throw new Error(`what does ${name} give?`);
    }
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, walk(each)]));
  };
  return walk(template as unknown as Json) as unknown as Template;
}

export type Statement = { Effect: string; Action: string[]; Resource: string[] };
export type Policy = { Version: string; Statement: Statement[] };

/** All that a role may do, of its own and by policies beside it. */
export function policiesOf({ Resources }: Template, role: string): Policy[] {
  const own = Resources[role]?.Properties.Policies ?? [];
  const beside = Object.values(Resources).filter(
    ({ Type, Properties }) => Type === "AWS::IAM::Policy" && Properties.Roles.includes(role),
  );
  const documents = [...own, ...beside.map(({ Properties }) => Properties)].map(({ PolicyDocument }) => PolicyDocument);
  return documents.map(({ Version, Statement }) => ({
    Version,
    Statement: Statement.map(({ Action, Resource, ...rest }: Statement) => ({
      ...rest,
      Action: [Action].flat(),
      Resource: [Resource].flat(),
    })),
  }));
}
