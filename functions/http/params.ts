// Names in addresses are checked before anything is looked up under them.
import { z } from "zod";
import { ClusterId, HostId, MigrationId, VmId } from "../../schemas/ids.ts";
import type { Problem, ProblemCode } from "../../schemas/problems.ts";

export type Params = { cluster: string; host: string; vm: string; migration: string; key: string };

/** What each name in an address must be, and what is answered where nothing is called so. */
export const paramRules: { [P in keyof Params]: { schema: z.ZodType<string>; unknown: ProblemCode } } = {
  cluster: { schema: ClusterId, unknown: "cluster-unknown" },
  host: { schema: HostId, unknown: "host-unknown" },
  vm: { schema: VmId, unknown: "vm-unknown" },
  migration: { schema: MigrationId, unknown: "migration-unknown" },
  key: { schema: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), unknown: "api-key-unknown" },
};

/** The parameters of the address; those it does not have are empty. */
export function checkParams(found: { [name: string]: string }): Params | Problem {
  const params: Params = { cluster: "", host: "", vm: "", migration: "", key: "" };
  for (const name of Object.keys(paramRules) as (keyof Params)[]) {
    const value = found[name];
    if (value === undefined) continue;
    if (!paramRules[name].schema.safeParse(value).success) {
      return {
        code: paramRules[name].unknown,
        detail: `There is no ${name} of that name: it is not even one that could be.`,
      };
    }
    params[name] = value;
  }
  return params;
}
