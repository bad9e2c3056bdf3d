// The file system as a test wants it: calls of one function watched, or answered otherwise, for as long as the test runs.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import type { TestContext } from "node:test";

type Call = (...given: never[]) => unknown;
type Name = { [N in keyof typeof fs]: (typeof fs)[N] extends Call ? N : never }[keyof typeof fs];

const trulyDone = { ...fs };

/** @param act gets the true function and what it was called with */
export function onFileCall(
  t: TestContext,
  name: Name,
  act: (call: (...given: unknown[]) => unknown, ...given: unknown[]) => unknown,
): void {
  const call = fs[name] as (...given: unknown[]) => unknown;
  const instead = ((...given: unknown[]) => act(call, ...given)) as never;
  Object.assign(fs, { [name]: instead });
  syncBuiltinESMExports();
  t.after(() => {
    Object.assign(fs, { [name]: trulyDone[name] });
    syncBuiltinESMExports();
  });
}

/** What a file system's function fails with. */
export const failure = (code: string): NodeJS.ErrnoException => Object.assign(new Error(`${code}: as asked`), { code });

/** Writes down what is opened, written, synced, closed and linked, by the names of files. */
export function watchFiles(t: TestContext, nameOf: (path: string) => string): string[] {
  const calls: string[] = [];
  const open = new Map<unknown, string>();
  onFileCall(t, "openSync", (call, path, ...rest) => {
    const file = call(path, ...rest);
    open.set(file, nameOf(String(path)));
    calls.push(`open ${open.get(file)}`);
    return file;
  });
  for (const [name, word] of [
    ["writeSync", "write"],
    ["fsyncSync", "sync"],
    ["fdatasyncSync", "sync data"],
    ["closeSync", "close"],
  ] as const) {
    onFileCall(t, name, (call, file, ...rest) => {
      calls.push(`${word} ${open.get(file)}`);
      return call(file, ...rest);
    });
  }
  onFileCall(t, "linkSync", (call, from, to) => {
    calls.push(`link ${nameOf(String(from))} ${nameOf(String(to))}`);
    return call(from, to);
  });
  return calls;
}

/** The same of the functions with promises, of which `fail` may let some fail: it gets what is written down, and gives
 *  what that fails with. */
export function watchPromises(
  t: TestContext,
  nameOf: (path: string) => string,
  fail: (call: string) => Error | null = () => null,
): string[] {
  const { promises } = fs;
  const { open, rename } = promises;
  const calls: string[] = [];
  const note = (call: string) => {
    calls.push(call);
    const error = fail(call);
    if (error) throw error;
  };
  const watched = {
    open: async (...given: Parameters<typeof open>) => {
      const name = nameOf(String(given[0]));
      note(`open ${name}`);
      const handle = await open(...given);
      const { writeFile, sync, close } = handle;
      return Object.assign(handle, {
        writeFile: async (...content: Parameters<typeof writeFile>) => {
          note(`write ${name}`);
          await writeFile.apply(handle, content);
        },
        sync: async () => {
          note(`sync ${name}`);
          await sync.call(handle);
        },
        close: async () => {
          note(`close ${name}`);
          await close.call(handle);
        },
      });
    },
    rename: async (from: string, to: string) => {
      note(`rename ${nameOf(from)} ${nameOf(to)}`);
      await rename(from, to);
    },
  };
  Object.assign(promises, watched);
  syncBuiltinESMExports();
  t.after(() => {
    Object.assign(promises, { open, rename });
    syncBuiltinESMExports();
  });
  return calls;
}
