// What this host says of itself. Read from the system where the system tells, honest about what it does not tell.
import { readFile, statfs } from "node:fs/promises";
import { arch, cpus, networkInterfaces, platform, release, totalmem, version } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { agentProtocol } from "../../schemas/agent.ts";
import type { HostFacts } from "../../schemas/host.ts";
import type { Hypervisor } from "../ports/hypervisor.ts";

export type HostFactsOptions = {
  hypervisor: Pick<Hypervisor, "version">;
  agentVersion: string;
  migrationAddress: string;
  /** Folders with disks of guests. */
  volumes: { id: string; path: string; shared: boolean }[];
  /** What guests may take; all of the host's memory when null. */
  guestMemoryMiB: number | null;
  /** How the free space of a folder is found; the system's own answer if not given. */
  readFreeMiB?: (path: string) => Promise<number>;
};

/** A volume whose server is gone may never answer. */
const volumeWithinMs = 2000;

/** Never fails and never waits for a volume that is gone: a heartbeat hangs on it. */
export async function readHostFacts(options: HostFactsOptions): Promise<HostFacts> {
  const [cpu, networks, volumes, platformFacts, hypervisor] = await Promise.all([
    readCpu(),
    readNetworks(),
    Promise.all(options.volumes.map((volume) => readVolume(volume, options.readFreeMiB ?? freeMiBOf))),
    readPlatform(),
    options.hypervisor.version(),
  ]);
  return {
    cpu,
    memoryMiB: options.guestMemoryMiB ?? Math.floor(totalmem() / 2 ** 20),
    networks,
    migrationAddress: options.migrationAddress,
    volumes,
    hypervisor,
    agent: { version: options.agentVersion, protocol: agentProtocol },
    platform: platformFacts,
  };
}

async function readCpu(): Promise<HostFacts["cpu"]> {
  const text = await readText("/proc/cpuinfo");
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text ?? "")?.[1]?.trim();
  const features = (field("flags") ?? field("Features") ?? "").split(/\s+/).filter((feature) => feature !== "");
  return {
    vendor: (field("vendor_id") ?? field("CPU implementer") ?? arch()).slice(0, 64),
    model: (field("model name") ?? cpus()[0]?.model ?? "unknown").trim().slice(0, 128) || "unknown",
    features: features
      .filter((feature) => feature.length <= 32)
      .slice(0, 512)
      .toSorted(),
    count: Math.max(1, cpus().length),
  };
}

async function readNetworks(): Promise<HostFacts["networks"]> {
  const found: HostFacts["networks"] = [];
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const linkSpeedMbps = await readLinkSpeed(name);
    for (const { address, cidr } of addresses ?? []) {
      const prefixLength = Number(cidr?.split("/")[1] ?? 0);
      found.push({ name: name.slice(0, 64), address: address.slice(0, 64), prefixLength, linkSpeedMbps });
    }
  }
  return found.slice(0, 64);
}

/** The kernel knows it for physical links that are up; -1 or an error otherwise. */
async function readLinkSpeed(name: string): Promise<number | null> {
  const text = /^[\w.:@-]+$/.test(name) ? await readText(`/sys/class/net/${name}/speed`) : null;
  const speed = Number(text?.trim() || "0");
  return Number.isInteger(speed) && speed > 0 ? speed : null;
}

/** What each volume last told, and the look that is still under way: a hung one is not joined by others. */
const volumesSeen = new Map<string, { freeMiB: number; looking: Promise<void> | null }>();

/** A volume that cannot be reached has nothing free; one that does not answer in time, what it had. */
async function readVolume(
  volume: HostFactsOptions["volumes"][number],
  readFree: NonNullable<HostFactsOptions["readFreeMiB"]>,
): Promise<HostFacts["volumes"][number]> {
  const seen = volumesSeen.get(volume.path) ?? { freeMiB: 0, looking: null };
  volumesSeen.set(volume.path, seen);
  seen.looking ??= readFree(volume.path)
    .catch(() => 0)
    .then((freeMiB) => {
      seen.freeMiB = freeMiB;
      seen.looking = null;
    });
  const deadline = new AbortController();
  await Promise.race([seen.looking, delay(volumeWithinMs, undefined, { signal: deadline.signal }).catch(() => {})]);
  deadline.abort();
  return { ...volume, freeMiB: seen.freeMiB };
}

async function freeMiBOf(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return Math.floor((bavail * bsize) / 2 ** 20);
}

async function readPlatform(): Promise<HostFacts["platform"]> {
  const text = await readText("/etc/os-release");
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text ?? "")?.[1];
  return {
    name: (field("ID") ?? platform()).slice(0, 64),
    version: (field("VERSION_ID") ?? release()).slice(0, 128),
    edition: (field("PRETTY_NAME") ?? version()).slice(0, 128),
  };
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return null; // This system does not tell.
  }
}
