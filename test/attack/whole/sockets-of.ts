// TCP sockets of other processes, as the system shows them.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export type TcpSocket = { local: string; peer: string };

/** The sockets of a process that has them on one of the addresses (IPv4). */
export function tcpSocketsOf(pid: number, addresses: readonly string[]): TcpSocket[] {
  const inodes = new Set(inodesOf(pid));
  return readFileSync("/proc/net/tcp", "latin1")
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local = "", peer = "", , , , , , , inode = ""] = line.trim().split(/\s+/);
      if (!inodes.has(inode)) return [];
      const found = { local: readable(local), peer: readable(peer) };
      return addresses.some((address) => found.local.startsWith(`${address}:`)) ? [found] : [];
    });
}

function inodesOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // Closed meanwhile.
      }
    });
  } catch {
    return []; // It has ended.
  }
}

/** "0B00007F:1CFC" is 127.0.0.11:7420. */
function readable(hex: string): string {
  const [address = "", port = ""] = hex.split(":");
  const bytes = [...Buffer.from(address, "hex")].reverse();
  return `${bytes.join(".")}:${Number.parseInt(port, 16)}`;
}
