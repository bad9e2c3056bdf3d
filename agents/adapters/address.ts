// Addresses as sockets tell them.
import { canonicalAddress } from "../../schemas/address.ts";

/** @returns true when both mean the same one; false for the missing address of a socket that is closed */
export const isSameAddress = (one: string | undefined, other: string): boolean =>
  one !== undefined && canonicalAddress(one) === canonicalAddress(other);
