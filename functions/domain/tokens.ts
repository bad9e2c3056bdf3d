// Fencing tokens: the restore epoch in the high part, so that a restored table outranks what it forgot.
import { tokensPerEpoch } from "../../schemas/ids.ts";

export function firstToken(restoreEpoch: number): number {
  return restoreEpoch * tokensPerEpoch;
}

/** The token of the next owner: above the last one, and not below this epoch. */
export function nextToken(token: number, restoreEpoch: number): number {
  return Math.max(token, firstToken(restoreEpoch)) + 1;
}
