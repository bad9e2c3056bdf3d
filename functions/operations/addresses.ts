// A migration address has one host, or a guest's memory would go to the wrong one. Whoever reports an address takes an
// item under its one spelling, in the commit that stores the report; the address before is freed by the same commit.
import { addressFault, canonicalAddress } from "../../schemas/address.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { HostFactsRecord, Session } from "../domain/records.ts";
import { isDeclaredLost } from "../domain/session.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Key } from "../ports/table.ts";
import type { Batch, Place } from "./items.ts";
import { keys } from "./keys.ts";

export type AddressHolder = { hostId: string };

export const addressKey = (clusterId: string, { facts }: HostFactsRecord): Key =>
  keys.address(clusterId, canonicalAddress(facts.migrationAddress));

export function checkAddress(address: string): Problem | null {
  const fault = addressFault(address);
  if (!fault) return null;
  const detail = `The migration address "${address}" ${fault}. Set DROVER_MIGRATION_ADDRESS to the address that this host alone has on the migration network.`;
  return { code: "migration-address-invalid", detail, errors: [{ pointer: "/facts/migrationAddress", detail: fault }] };
}

/** Of an address that was checked.
 *  @param before what the host reported last
 *  @param read places of the same reading that the rest of the batch stands on */
export async function takeAddress(
  batch: Batch,
  { clusterId, hostId }: HostAddress,
  facts: HostFactsRecord,
  before: HostFactsRecord | null,
  read: (key: Key) => Promise<Place<unknown>>,
): Promise<Problem | null> {
  const { migrationAddress } = facts.facts;
  const key = addressKey(clusterId, facts);
  const place = (await read(key)) as Place<AddressHolder>;
  const holder = place.value?.hostId ?? hostId;
  if (holder !== hostId) {
    const session = (await read(keys.session(clusterId, holder))) as Place<Session>;
    if (!isDeclaredLost(session.value)) return taken(migrationAddress, holder);
    batch.check(session); // It has not come back meanwhile.
  }
  batch.put<AddressHolder>(place, { hostId });
  batch.check(place); // Nor was the address of a host that has come back given to another.
  if (before && !addressFault(before.facts.migrationAddress)) {
    const left = addressKey(clusterId, before);
    const freed = left.sort === key.sort ? null : ((await read(left)) as Place<AddressHolder>);
    if (freed?.value?.hostId === hostId) batch.remove(freed);
  }
  return null;
}

function taken(address: string, holder: string): Problem {
  const detail = `Host "${holder}" has the migration address "${address}". Give this host another one (DROVER_MIGRATION_ADDRESS), or "${holder}" first; if "${holder}" is gone for good, declare it lost.`;
  const errors = [{ pointer: "/facts/migrationAddress", detail: `is that of host "${holder}"` }];
  return { code: "migration-address-taken", detail, errors, holder };
}
