// What a journal entry may hold. Strict, so that no secret can slip into it with an unknown field.
import { z } from "zod";
import { Assignment } from "../../schemas/agent.ts";
import { FencingToken, MigrationId, VmId } from "../../schemas/ids.ts";
import { MigrationRecord } from "../../schemas/migration.ts";
import { Signed } from "../../schemas/signing.ts";
import type { MigrationJournal, TableStanding } from "../ports/journal.ts";

const ProvenRecord = z.strictObject({ record: MigrationRecord, signed: Signed.strict() });

export const JournalEntry = z.strictObject({
  migrationId: MigrationId,
  claimed: z.strictObject({
    role: z.enum(["source", "destination"]),
    assignment: Assignment,
    signed: Signed.strict(),
    record: ProvenRecord.nullable(),
  }),
  commitSent: z.literal(true).exactOptional(),
  runIntent: z.int().min(1).exactOptional(),
  arrivesPaused: z.literal(true).exactOptional(),
  runRefused: z.int().min(1).exactOptional(),
  relinquished: z.literal(true).exactOptional(),
  gateUnknown: z.literal(true).exactOptional(),
  askedNonce: z.string().max(64).exactOptional(),
  over: z.literal(true).exactOptional(),
}) satisfies z.ZodType<MigrationJournal>;

export const TokenTable = z.record(VmId, FencingToken);

export const TableStandingEntry = z.strictObject({
  isFrozen: z.boolean(),
  tokenFloor: FencingToken,
}) satisfies z.ZodType<TableStanding>;
