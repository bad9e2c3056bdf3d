// The HTTP API, typed by the schemas. Problems come back as ApiProblem, with code, detail and way out.
import type { z } from "zod";
import { Cluster } from "../schemas/cluster.ts";
import { Host, type HostLoss } from "../schemas/host.ts";
import { Migration, type MigrationRequest } from "../schemas/migration.ts";
import { ProblemDetails } from "../schemas/problems.ts";
import { Vm, type VmDefinition, type VmForce } from "../schemas/vm.ts";

export class ApiProblem extends Error {
  override name = "ApiProblem";
  readonly problem: ProblemDetails;
  constructor(problem: ProblemDetails) {
    super(`${problem.code}: ${problem.detail}`);
    this.problem = problem;
  }
}

export type Api = ReturnType<typeof createApi>;

type Page<T> = { items: T[]; nextCursor?: string | null | undefined };

/** @param url of the control plane, such as http://127.0.0.1:8080
 *  @param key an API key */
export function createApi({ url, key }: { url: string; key: string }) {
  /** @throws ApiProblem on a refusal @throws Error when there is no answer, or none of ours */
  async function request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    const headers: Record<string, string> = { authorization: `Bearer ${key}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method !== "GET") headers["idempotency-key"] = crypto.randomUUID();
    let answer: Response;
    try {
      answer = await fetch(new URL(path, url), {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ?? null,
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Error(`no answer from the control plane at ${url}`, { cause: error });
    }
    const text = await answer.text();
    let parsed: unknown;
    try {
      parsed = text === "" ? null : JSON.parse(text);
    } catch {
      throw new Error(`${url} answered ${answer.status} without JSON: is it a Drover control plane?`);
    }
    if (answer.ok) return parsed;
    const problem = ProblemDetails.safeParse(parsed);
    if (problem.success) throw new ApiProblem(problem.data);
    throw new Error(`${url} answered ${answer.status}: ${text.slice(0, 300)}`);
  }

  async function one<T>(
    schema: z.ZodType<T>,
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    const parsed = schema.safeParse(await request(method, path, body, signal));
    if (!parsed.success)
      throw new Error(`${method} ${path} answered in a form that this version does not know`, { cause: parsed.error });
    return parsed.data;
  }
  async function many<T>(schema: z.ZodType<T>, path: string): Promise<Page<T>> {
    const page = (await request("GET", path)) as Page<unknown>;
    return { items: page.items.map((item) => schema.parse(item)), nextCursor: page.nextCursor };
  }
  const at = (cluster: string, ...rest: string[]): string =>
    ["/v1/clusters", cluster, ...rest].map((part, index) => (index === 0 ? part : encodeURIComponent(part))).join("/");

  return {
    url,
    request,
    health: () => request("GET", "/v1/health"),
    createCluster: (cluster: string) => request("POST", "/v1/clusters", { cluster }),
    getCluster: (cluster: string) => one(Cluster, "GET", at(cluster)),
    createJoinToken: (cluster: string, host: string) =>
      request("POST", at(cluster, "join-tokens"), { host }) as Promise<{ token: string; expiresAt: string }>,

    listHosts: (cluster: string) => many(Host, at(cluster, "hosts")),
    getHost: (cluster: string, host: string) => one(Host, "GET", at(cluster, "hosts", host)),

    declareHostLost: (cluster: string, host: string, loss: HostLoss) =>
      one(Host, "POST", at(cluster, "hosts", host, "declare-lost"), loss),

    defineVm: (cluster: string, definition: z.input<typeof VmDefinition>) =>
      one(Vm, "POST", at(cluster, "vms"), definition),
    listVms: (cluster: string) => many(Vm, at(cluster, "vms")),
    getVm: (cluster: string, vm: string) => one(Vm, "GET", at(cluster, "vms", vm)),
    startVm: (cluster: string, vm: string, host: string) => one(Vm, "POST", at(cluster, "vms", vm, "start"), { host }),
    stopVm: (cluster: string, vm: string) => one(Vm, "POST", at(cluster, "vms", vm, "stop"), {}),
    forceVm: (cluster: string, vm: string, asked: VmForce) => one(Vm, "POST", at(cluster, "vms", vm, "force"), asked),
    pauseVm: (cluster: string, vm: string) => one(Vm, "POST", at(cluster, "vms", vm, "pause"), {}),
    resumeVm: (cluster: string, vm: string) => one(Vm, "POST", at(cluster, "vms", vm, "resume"), {}),
    resetVm: (cluster: string, vm: string) => one(Vm, "POST", at(cluster, "vms", vm, "reset"), {}),
    deleteVm: (cluster: string, vm: string) => one(Vm, "DELETE", at(cluster, "vms", vm)),

    requestMigration: (cluster: string, asked: z.input<typeof MigrationRequest>) =>
      one(Migration, "POST", at(cluster, "migrations"), asked),
    listMigrations: (cluster: string, limit: number, cursor?: string) =>
      many(
        Migration,
        `${at(cluster, "migrations")}?${new URLSearchParams({ limit: String(limit), ...(cursor ? { cursor } : {}) })}`,
      ),
    getMigration: (cluster: string, id: string) => one(Migration, "GET", at(cluster, "migrations", id)),
    /** Answers at once when the revision is another one, or the migration over; else waits. */
    waitMigration: (cluster: string, id: string, revision: number, timeoutMs: number, signal?: AbortSignal) =>
      one(
        Migration,
        "GET",
        `${at(cluster, "migrations", id, "wait")}?timeoutMs=${timeoutMs}&revision=${revision}`,
        undefined,
        signal,
      ),
    cancelMigration: (cluster: string, id: string) =>
      one(Migration, "POST", at(cluster, "migrations", id, "cancel"), {}),
  };
}
