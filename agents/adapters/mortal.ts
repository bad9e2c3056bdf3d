// Death in one process: what a simulated process holds stops working in the instant in which it dies. A call after
// that does nothing and never answers; an answer that was under way never arrives. So nothing that a dead process had
// begun goes on to its next step.

export type Life = { dead: boolean };

/** Made anew each time: one for all would keep alive whatever ever waited for it. */
const never = (): Promise<never> => new Promise(() => {});

export function mortal<T extends object>(target: T, life: Life): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (typeof value !== "function") return value;
      return (...parameters: unknown[]) => {
        if (life.dead) return never();
        const result: unknown = value.apply(object, parameters);
        if (!(result instanceof Promise)) return result;
        return result.then(
          (answer) => (life.dead ? never() : lend(answer, life)),
          (error) => (life.dead ? never() : Promise.reject(error)),
        );
      };
    },
  });
}

/** What a port hands out (a machine, a held lock) dies with whoever it was handed to. */
function lend(answer: unknown, life: Life): unknown {
  if (typeof answer !== "object" || answer === null) return answer;
  if (Object.values(answer).some((member) => typeof member === "function")) return mortal(answer, life);
  if ("lock" in answer && typeof answer.lock === "object" && answer.lock !== null) {
    return { ...answer, lock: mortal(answer.lock, life) };
  }
  return answer;
}
