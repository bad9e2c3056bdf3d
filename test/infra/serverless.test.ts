// What `osls package` makes of serverless.yml: read for each thing that must be there, and for what must not.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { tableDefinition } from "../../functions/adapters/dynamodb-table.ts";
import { readCloudConfiguration } from "../../functions/runtime/cloud-environment.ts";
import {
  account,
  packageService,
  policiesOf,
  type Resource,
  region,
  type Template,
} from "../support/cloudformation.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { readZip } from "../support/zip.ts";

const folder = await temporaryFolder();
after(() => folder.remove());
let template: Template;
let packaged: Awaited<ReturnType<typeof packageService>>;

before(async () => {
  packaged = await packageService(folder.path);
  template = packaged.template;
});

const of = (type: string): [string, Resource][] =>
  Object.entries(template.Resources).filter(([, { Type }]) => Type === type);
const only = (type: string): Resource => {
  const [found, ...more] = of(type);
  assert.ok(found && more.length === 0, `one ${type}`);
  return found[1];
};
const functionNamed = (name: string): Resource => {
  const found = of("AWS::Lambda::Function").find(([, { Properties }]) => Properties.FunctionName.endsWith(`-${name}`));
  assert.ok(found, `function ${name}`);
  return found[1];
};

test("it is packaged without an account and without the network: the bundle as it was built, and no other file", async () => {
  const files = readZip(await readFile(packaged.zip));
  assert.deepEqual([...files.keys()], ["dist/lambda/lambda.mjs"]);
  assert.equal(files.get("dist/lambda/lambda.mjs")?.toString(), packaged.source);
  for (const [, { Properties }] of of("AWS::Lambda::Function")) {
    assert.match(Properties.Handler, /^dist\/lambda\/lambda\.(handler|tidy)$/);
    assert.match(packaged.source, new RegExp(`as ${Properties.Handler.split(".")[1]}\\b`));
  }
});

test("two functions on Node 24, each under a role of its own, in time for the longest wait", () => {
  assert.equal(of("AWS::Lambda::Function").length, 2);
  const [api, tidy] = [functionNamed("api").Properties, functionNamed("tidy").Properties];
  assert.deepEqual([api.Runtime, tidy.Runtime], ["nodejs24.x", "nodejs24.x"]);
  assert.deepEqual([api.Handler, tidy.Handler], ["dist/lambda/lambda.handler", "dist/lambda/lambda.tidy"]);
  assert.ok(api.Timeout > 25 && api.Timeout < 30, "a request may wait 25 s, and an HTTP API 30");
  assert.notEqual(api.Role, tidy.Role);
  for (const { Role } of [api, tidy]) {
    const name = Role.split("/").at(-1);
    const { Statement } = template.Resources[name]?.Properties.AssumeRolePolicyDocument ?? {};
    assert.deepEqual(Statement, [
      { Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" },
    ]);
  }
});

test("the functions take their configuration as it stands in the template, and no secret stands there", () => {
  for (const [, { Properties }] of of("AWS::Lambda::Function")) {
    const { Variables } = Properties.Environment;
    const read = readCloudConfiguration({ ...Variables, AWS_REGION: region });
    assert.deepEqual(read.table, { kind: "dynamodb", name: "drover-production", endpoint: null });
    assert.deepEqual(read.secrets, { kind: "ssm", path: "/drover/production", endpoint: null });
    assert.equal(read.sqs.deadLetters, `arn:aws:sqs:${region}:${account}:drover-production-dead-letters`);
    for (const name of Object.keys(Variables)) assert.doesNotMatch(name, /KEY|TOKEN|PASSWORD/);
  }
});

test("one HTTP API with one route, and nothing else that the public reaches", () => {
  assert.equal(only("AWS::ApiGatewayV2::Api").Properties.ProtocolType, "HTTP");
  assert.equal(only("AWS::ApiGatewayV2::Route").Properties.RouteKey, "$default");
  assert.equal(only("AWS::ApiGatewayV2::Stage").Properties.StageName, "$default");
  const { PayloadFormatVersion, TimeoutInMillis } = only("AWS::ApiGatewayV2::Integration").Properties;
  assert.equal(PayloadFormatVersion, "2.0");
  assert.ok(TimeoutInMillis > functionNamed("api").Properties.Timeout * 1000);

  assert.deepEqual(
    of("AWS::Lambda::Permission").map(([, { Properties }]) => [Properties.Principal, typeof Properties.SourceArn]),
    [
      ["events.amazonaws.com", "string"],
      ["apigateway.amazonaws.com", "string"],
    ],
  );
  const { PublicAccessBlockConfiguration } = only("AWS::S3::Bucket").Properties;
  assert.deepEqual(Object.values(PublicAccessBlockConfiguration), [true, true, true, true]);
  const policies = Object.values(template.Resources).flatMap(({ Type, Properties }) =>
    /Policy$/.test(Type) ? (Properties.PolicyDocument?.Statement ?? []) : [],
  );
  const public_ = policies.filter(
    ({ Effect, Principal }) => Effect === "Allow" && JSON.stringify(Principal)?.includes("*"),
  );
  assert.deepEqual(public_, []);
  const known =
    /^AWS::(ApiGatewayV2::(Api|Stage|Route|Integration)|CloudWatch::Alarm|DynamoDB::Table|Events::Rule|IAM::(Role|Policy)|Lambda::(Function|Permission|EventInvokeConfig)|Logs::LogGroup|S3::Bucket(Policy)?|SNS::Topic|SQS::Queue)$/;
  for (const { Type } of Object.values(template.Resources)) assert.match(Type, known);
});

test("the table is the one that the adapter expects; it survives the stack, and can go back in time", () => {
  const { Properties, DeletionPolicy, UpdateReplacePolicy } = only("AWS::DynamoDB::Table");
  const { KeySchema, AttributeDefinitions, BillingMode } = Properties;
  assert.deepEqual({ KeySchema, AttributeDefinitions, BillingMode }, tableDefinition);
  assert.deepEqual([DeletionPolicy, UpdateReplacePolicy], ["Retain", "Retain"]);
  assert.equal(Properties.DeletionProtectionEnabled, true);
  assert.deepEqual(Properties.PointInTimeRecoverySpecification, { PointInTimeRecoveryEnabled: true });
  assert.deepEqual(Properties.TimeToLiveSpecification, { AttributeName: "ttl", Enabled: true });
});

test("dead letters stay longer than whoever is to look at them is away, and encrypted", () => {
  const { MessageRetentionPeriod, SqsManagedSseEnabled } = only("AWS::SQS::Queue").Properties;
  assert.deepEqual([MessageRetentionPeriod, SqsManagedSseEnabled], [14 * 86_400, true]);
});

test("the last net runs every minute, is not tried again, and what fails of it is kept", () => {
  const { ScheduleExpression, State, Targets } = only("AWS::Events::Rule").Properties;
  assert.deepEqual([ScheduleExpression, State, Targets.length], ["rate(1 minute)", "ENABLED", 1]);
  assert.ok(Targets[0].Arn.endsWith(":function:drover-production-tidy"));
  const { DestinationConfig, MaximumRetryAttempts } = only("AWS::Lambda::EventInvokeConfig").Properties;
  assert.equal(MaximumRetryAttempts, 0);
  assert.ok(DestinationConfig.OnFailure.Destination.endsWith(":drover-production-dead-letters"));
});

test("logs are kept for a stated time", () => {
  const groups = of("AWS::Logs::LogGroup").map(([, { Properties }]) => Properties);
  assert.deepEqual(groups.map(({ LogGroupName, RetentionInDays }) => [LogGroupName, RetentionInDays]).sort(), [
    ["/aws/lambda/drover-production-api", 30],
    ["/aws/lambda/drover-production-tidy", 30],
  ]);
});

test("alarms: errors, throttles and duration of both functions, a net that stands still, the table's throttles, dead letters, 5xx", () => {
  const topic = only("AWS::SNS::Topic");
  assert.ok(topic);
  const alarms = of("AWS::CloudWatch::Alarm").map(([, { Properties }]) => Properties);
  const watched = alarms.map(
    ({ Namespace, MetricName, Dimensions }) =>
      `${Namespace} ${MetricName} ${Dimensions.map(({ Value }: { Value: string }) => Value)}`,
  );
  assert.deepEqual(watched.sort(), [
    "AWS/ApiGateway 5xx HttpApi",
    "AWS/DynamoDB ReadThrottleEvents drover-production",
    "AWS/DynamoDB WriteThrottleEvents drover-production",
    "AWS/Lambda Duration drover-production-api",
    "AWS/Lambda Duration drover-production-tidy",
    "AWS/Lambda Errors drover-production-api",
    "AWS/Lambda Errors drover-production-tidy",
    "AWS/Lambda Invocations drover-production-tidy",
    "AWS/Lambda Throttles drover-production-api",
    "AWS/Lambda Throttles drover-production-tidy",
    "AWS/SQS ApproximateNumberOfMessagesVisible drover-production-dead-letters",
  ]);
  for (const { AlarmActions, AlarmDescription, MetricName, Threshold, Dimensions, TreatMissingData } of alarms) {
    assert.deepEqual(AlarmActions, [`arn:aws:sns:${region}:${account}:AlarmTopic`]);
    assert.ok(AlarmDescription.length > 20);
    assert.equal(TreatMissingData, MetricName === "Invocations" ? "breaching" : "notBreaching");
    if (MetricName === "Duration") {
      const [{ Value }] = Dimensions;
      const { Timeout } = functionNamed(Value.split("-").at(-1)).Properties;
      assert.ok(Threshold < Timeout * 1000 && Threshold > Timeout * 800, "before it is cut off");
    }
  }
});

test("a role is granted actions by name, on resources by name", () => {
  const roles = of("AWS::IAM::Role").map(([name]) => name);
  for (const role of roles) {
    const statements = policiesOf(template, role).flatMap(({ Statement }) => Statement);
    assert.ok(statements.length > 0, role);
    for (const { Effect, Action, Resource } of statements) {
      assert.equal(Effect, "Allow");
      for (const action of Action) assert.match(action, /^[a-z]+:[A-Za-z]+$/, `${role} may ${action}`);
      for (const resource of Resource) {
        // Made at run time: a function's log streams, and the queues of hosts.
        const named = resource
          .replace(/(\/aws\/lambda\/drover-production-\w+):\*$/, "$1")
          .replace(/:drover-\*_\*$/, ":drover-");
        assert.match(named, /^arn:aws:[a-z]+:(eu-west-1)?:111122223333:[^*]+$/, `${role} on ${resource}`);
      }
    }
    assert.equal(template.Resources[role]?.Properties.ManagedPolicyArns, undefined);
  }
});

test("after a restore it serves another table, under another name and epoch", async () => {
  const other = await temporaryFolder();
  try {
    const parameters = ["table=drover-2", "tableId=drover-2", "restoreEpoch=1"].flatMap((each) => ["--param", each]);
    const { template: restored } = await packageService(other.path, parameters);
    const { Properties } = restored.Resources["ApiLambdaFunction"] ?? {};
    const read = readCloudConfiguration({ ...Properties.Environment.Variables, AWS_REGION: region });
    assert.deepEqual([read.table.name, read.settings.tableId, read.settings.restoreEpoch], ["drover-2", "drover-2", 1]);
    const tables = policiesOf(restored, "ApiRole")
      .flatMap(({ Statement }) => Statement)
      .filter(({ Action }) => Action.includes("dynamodb:GetItem"))
      .flatMap(({ Resource }) => Resource);
    assert.deepEqual(tables, [`arn:aws:dynamodb:${region}:${account}:table/drover-2`]);
    assert.equal(restored.Resources["Table"]?.Properties.TableName, "drover-production", "the old one is left alone");
  } finally {
    await other.remove();
  }
});
