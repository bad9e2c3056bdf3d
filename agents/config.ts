// The agent's settings, from the environment. A bad one is named, with what it may be.
import { z } from "zod";
import { addressFault, canonicalAddress } from "../schemas/address.ts";
import { ClusterId, HostId } from "../schemas/ids.ts";
import { isSecure } from "../schemas/secure-url.ts";

const folder = z.string().regex(/^\//, "an absolute path");
const oneAddress = z
  .string()
  .refine((address) => addressFault(address) === null, { error: (issue) => addressFault(String(issue.input)) ?? "" })
  .transform(canonicalAddress);

const variables = {
  DROVER_CONTROL_PLANE: z
    .url({ protocol: /^https?$/ })
    .refine(isSecure, "over plain http off this machine anybody on the way could play the control plane")
    .describe("the control plane's address, https://…"),
  DROVER_CLUSTER: ClusterId.describe("the cluster this host belongs to"),
  DROVER_HOST: HostId.describe("this host's name in the cluster"),
  DROVER_DATA: folder.describe("a folder of this host's own, kept over reboots"),
  DROVER_RUN: folder.describe("a folder of this host's own that a reboot erases, such as /run/drover"),
  DROVER_SHARED_VOLUME: folder.describe("where the shared volume is mounted"),
  DROVER_MIGRATION_ADDRESS: oneAddress.describe(
    "this host's own address on the migration network, one that it alone has",
  ),
  DROVER_PEER_PORT: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .default(7420)
    .describe("a port, 1 to 65535, the same on all hosts"),
  DROVER_JOIN_TOKEN_FILE: folder.optional().describe("a file with the one-time join token"),
  DROVER_HYPERVISOR: z.enum(["embedded"]).default("embedded").describe("embedded"),
  DROVER_GUEST_MEMORY_MIB: z.coerce
    .number()
    .int()
    .min(16)
    .max(16_777_216)
    .optional()
    .describe("MiB for guests, 16 or more"),
};
const Environment = z.object(variables);
export type AgentConfig = z.infer<typeof Environment>;

/** @throws Error that names every bad variable, its bounds and the way out */
export function readConfig(environment: Record<string, string | undefined>): AgentConfig {
  const parsed = Environment.safeParse(environment);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => {
    const name = String(issue.path[0]) as keyof typeof variables;
    const wanted = variables[name].description ?? "";
    return environment[name] === undefined
      ? `${name} is not set: set it to ${wanted}`
      : `${name}: ${issue.message}; it is ${wanted}`;
  });
  throw new Error([...new Set(lines)].join("\n"));
}
