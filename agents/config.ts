// The agent's settings, from the environment. A bad one is named, with what it may be.
import { z } from "zod";
import { addressFault, canonicalAddress } from "../schemas/address.ts";
import { ClusterId, HostId } from "../schemas/ids.ts";
import { bearsNoCredentials, isSecure } from "../schemas/secure-url.ts";

/** Plain decimal: 0x50, 1e3 and an empty text are numbers to JavaScript alone. */
const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, "not a plain decimal number")
    .transform(Number)
    .pipe(z.number().min(min, `less than ${min}`).max(max, `more than ${max}`));
const hypervisors = ["embedded"] as const;
const folder = z.string().regex(/^\//, "an absolute path");
const oneAddress = z
  .string()
  .refine((address) => addressFault(address) === null, { error: (issue) => addressFault(String(issue.input)) ?? "" })
  .transform(canonicalAddress);

const variables = {
  DROVER_CONTROL_PLANE: z
    .url({ protocol: /^https?$/, abort: true })
    .refine(bearsNoCredentials, "it must bear no name and no password")
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
  DROVER_PEER_PORT: wholeNumber(1, 65_535).default(7420).describe("a port, 1 to 65535, the same on all hosts"),
  DROVER_JOIN_TOKEN_FILE: folder.optional().describe("a file with the one-time join token"),
  DROVER_HYPERVISOR: z
    .enum(hypervisors, "there is no such hypervisor")
    .default("embedded")
    .describe(`one of those there are: ${hypervisors.join(", ")}`),
  DROVER_GUEST_MEMORY_MIB: wholeNumber(16, 16_777_216).optional().describe("MiB for guests, 16 to 16777216"),
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
      : `${name}: ${issue.message}; set it to ${wanted}`;
  });
  throw new Error([...new Set(lines)].join("\n"));
}
