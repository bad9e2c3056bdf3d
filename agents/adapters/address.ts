// Addresses as the system itself writes them, so that one address has one spelling and two can be compared as text.
import { isIPv4, isIPv6, SocketAddress } from "node:net";

const mappedIPv4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/;

/** IPv6 shortened and in lower case; an IPv4 address written as IPv6 as the IPv4 address that it is. What is no address
 *  stays as it is. */
export function canonicalAddress(address: string): string {
  if (isIPv4(address) || !isIPv6(address) || address.includes("%")) return address;
  const text = new SocketAddress({ address, family: "ipv6" }).address;
  return mappedIPv4.exec(text)?.[1] ?? text;
}

/** @returns true when both mean the same one; false for the missing address of a socket that is closed */
export const isSameAddress = (one: string | undefined, other: string): boolean =>
  one !== undefined && canonicalAddress(one) === canonicalAddress(other);

/** Listening there is listening on every network of the host. */
export const isEveryAddress = (address: string): boolean => ["0.0.0.0", "::"].includes(canonicalAddress(address));
