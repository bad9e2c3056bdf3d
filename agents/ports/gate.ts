// The gate's decision: `past` and `cancelled` are one exclusive durable creation, made before acting on it. Only its
// winner acts: the agent that lets the hypervisor finish, or whoever resumes the source.
// Adapters: file (one file, create-if-absent, synced), memory.

export type GateDecision = "past" | "cancelled";

export interface Gate {
  /** Decides if nobody has, and answers what stands: the caller's word or the earlier one. Durable when it answers. */
  decide(migrationId: string, decision: GateDecision): Promise<GateDecision>;
  read(migrationId: string): Promise<GateDecision | null>;
  /** Forgets a decision, once nothing of the migration is left on this host. */
  forget(migrationId: string): Promise<void>;
}
