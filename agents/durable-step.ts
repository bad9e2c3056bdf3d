// The steps that outlive a process, each under a name where it stands in the code. A test halts a real process before
// or after exactly this one, to see what a death at that instant leaves behind. Without a halt, which only a main
// program sets and only when it is told to (adapters/halt-steps.ts), a name costs one comparison.

/** What is made durable, or made to happen outside of the process: by it a step is found in the sources. */
export type DurableStep =
  `${"journal" | "memo" | "gate" | "lock" | "guest" | "copy" | "counter" | "identity" | "incarnation"}:${string}`;
export type Halt = (step: string, moment: "before" | "after") => void;

let halt: Halt | null = null;

export function haltAtSteps(ask: Halt): void {
  halt = ask;
}

/** Does it, and names it. What throws was not done: there is no "after" then. */
export function durable<T>(step: DurableStep, act: () => T): T {
  if (halt === null) return act();
  halt(step, "before");
  const done = act();
  if (done instanceof Promise) {
    return done.then((result) => {
      halt?.(step, "after");
      return result;
    }) as T;
  }
  halt(step, "after");
  return done;
}
