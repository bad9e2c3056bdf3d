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
