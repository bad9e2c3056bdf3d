// Addresses of hosts on the migration network, read alike by both sides: one address has one spelling.
import { z } from "zod";

const ipv4 = z.ipv4();
const ipv6 = z.ipv6();
const mappedIPv4 = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/** IPv6 shortened and in lower case; an IPv4 address written as IPv6 as the IPv4 address that it is. What is no address
 *  stays as it is. */
export function canonicalAddress(address: string): string {
  if (!ipv6.safeParse(address).success) return address;
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const halves = mappedIPv4.exec(text)?.slice(1);
  if (!halves) return text;
  return halves
    .map((half) => Number.parseInt(half, 16))
    .flatMap((half) => [half >> 8, half & 255])
    .join(".");
}

/** Why no single host can have this address; null where one can. Loopback serves hosts that share one machine. */
export function addressFault(address: string): string | null {
  const text = canonicalAddress(address);
  const isFourth = ipv4.safeParse(text).success;
  if (!isFourth && !ipv6.safeParse(text).success) return "must be an IP address, not a name";
  if (text === "0.0.0.0" || text === "::") return "would listen on every network: name one address";
  const first = Number(text.split(".")[0]);
  if (isFourth ? first >= 224 && first < 240 : text.startsWith("ff")) return "is a multicast address, of many hosts";
  return text === "255.255.255.255" ? "is the broadcast address, of all hosts" : null;
}
