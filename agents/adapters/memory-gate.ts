// The gate in memory, for simulation. The object is the host's disk: it outlives the agent and the supervisor.
import type { Gate, GateDecision } from "../ports/gate.ts";

export class MemoryGate implements Gate {
  readonly #decisions = new Map<string, GateDecision>();
  /** While set, nothing can be made durable. */
  failing = false;

  /** How many decisions are kept. */
  get size(): number {
    return this.#decisions.size;
  }

  async decide(migrationId: string, decision: GateDecision): Promise<GateDecision> {
    const standing = this.#decisions.get(migrationId);
    if (standing) return standing;
    if (this.failing) throw new Error("the gate cannot be written");
    this.#decisions.set(migrationId, decision);
    return decision;
  }

  async forget(migrationId: string): Promise<void> {
    this.#decisions.delete(migrationId);
  }

  async read(migrationId: string): Promise<GateDecision | null> {
    return this.#decisions.get(migrationId) ?? null;
  }
}
