// Arguments of the command, checked: every refusal names the option, its bounds and what was given.
import { type ParseArgsConfig, parseArgs } from "node:util";
import { UsageError } from "./exit.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** @throws UsageError naming what is not known, with what may have been meant */
export function readArguments<O extends Options>(args: string[], options: O, positionals = 0) {
  let parsed: ReturnType<typeof parse>;
  const parse = () =>
    parseArgs({ args: withNegatives(args), options, allowPositionals: positionals > 0, strict: true, tokens: true });
  try {
    parsed = parse();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const unknown = /Unknown option '(-[^']*)'/.exec(message)?.[1];
    if (unknown === undefined) throw new UsageError(message.split(/[\n.]\s*/)[0] ?? message);
    const near = nearest(unknown.replace(/^-+/, ""), Object.keys(options));
    throw new UsageError(`there is no option ${unknown}${near ? `; did you mean --${near}?` : ""}`);
  }
  const given = parsed.tokens.flatMap((token) => (token.kind === "option" ? [token.name] : []));
  const twice = given.find((name, index) => given.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`--${twice} is given more than once; give it once`);
  const extra = parsed.positionals[positionals];
  if (extra !== undefined) throw new UsageError(`"${extra}" is one argument too many`);
  return parsed;
}

/** `--dirty -1` is one option with its value, which is refused with its bounds, and not two options. */
function withNegatives(args: string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1);
    if (/^-\d/.test(arg) && before && /^--[^=]+$/.test(before)) joined[joined.length - 1] = `${before}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}

export function readInteger(
  option: string,
  given: string | undefined,
  bounds: { min: number; max: number; usual: number },
): number {
  if (given === undefined) return bounds.usual;
  const value = Number(given);
  if (/^\d+$/.test(given) && value >= bounds.min && value <= bounds.max) return value;
  throw new UsageError(`--${option} is a whole number from ${bounds.min} to ${bounds.max}; "${given}" was given`);
}

export function readChoice<T extends string>(
  option: string,
  given: string | undefined,
  choices: readonly T[],
  usual: T,
): T {
  if (given === undefined) return usual;
  const choice = choices.find((one) => one === given);
  if (choice) return choice;
  throw new UsageError(`--${option} is one of ${choices.join(", ")}; "${given}" was given`);
}

/** The known word that is at most two letters away. */
export function nearest(word: string, known: readonly string[]): string | null {
  const ranked = known.map((one) => ({ one, distance: distance(word, one) })).sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= 2 ? best.one : null;
}

function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (const [j, otherLetter] of [...other].entries()) {
      const substituted = (row[j] ?? 0) + (letter === otherLetter ? 0 : 1);
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
