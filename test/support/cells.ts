// A machine's table, cell by cell: each event in each situation, and what came of it in one line. A situation or an event
// that is a case of another ("copying, asked", "woke, after 2 s") is written only where it differs; what is not written
// at all moves nothing.
import assert from "node:assert/strict";
import { test } from "node:test";

type Command = { kind: string };
type Step<S> = { state: S; commands: Command[] };
export type Cells = { [situation: string]: { [events: string]: string } };

/** The kind, then what it bears, without names and without what all of them bear alike. */
function show(value: unknown, leftOut: ReadonlySet<unknown>): string {
  if (Array.isArray(value)) return `[${value.map((each) => show(each, leftOut)).join(", ")}]`;
  if (value === null || typeof value !== "object") return String(value);
  if ("report" in value) return show(value.report, leftOut);
  if ("message" in value) return `say ${show(value.message, leftOut)}`;
  const { kind, ...rest } = value as { kind?: string };
  const borne = Object.entries(rest).flatMap(([key, each]) => (leftOut.has(key) ? [] : [show(each, leftOut)]));
  return borne.length === 0 ? String(kind) : `${kind ?? ""}(${borne.join(", ")})`;
}

/** The new stage, what else is known now, and the commands: "stage, key=value: command, command". */
export function tell<S extends { stage: string }>(before: S, step: Step<S>, leftOut: readonly string[] = []): string {
  const omitted = new Set<unknown>(leftOut);
  const after: { [key: string]: unknown } = {
    ...Object.fromEntries(Object.keys(before).map((key) => [key])),
    ...step.state,
  };
  const known = Object.entries(after).flatMap(([key, value]) => {
    if (isAlike(value, before[key as keyof S])) return [];
    if (key === "stage") return [String(value)];
    // What is learnt of the record is the event's own, and shows in what follows.
    return key === "record" ? [] : [`${key}=${show(value, omitted)}`];
  });
  const commands = step.commands.map((command) => show(command, omitted));
  return [known.join(", "), commands.join("; ")].filter((part) => part !== "").join(": ");
}

const isAlike = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** A name and what it is a case of: "woke, after 2 s" is a case of "woke". */
function* andMoreGeneral(name: string): Generator<string> {
  for (let each = name; ; each = each.slice(0, each.lastIndexOf(", "))) {
    yield each;
    if (!each.includes(", ")) return;
  }
}

/** What is written for a case, or else for what it is a case of; the event's name counts before the situation's. */
export function written(cells: Cells, situation: string, eventName: string): string {
  for (const event of andMoreGeneral(eventName)) {
    for (const each of andMoreGeneral(situation)) {
      for (const [names, outcome] of Object.entries(cells[each] ?? {})) {
        if (names.split(" | ").includes(event)) return outcome;
      }
    }
  }
  return nothing;
}
export const nothing = "nothing";

/** One test for each situation. */
export function testCells<S extends { stage: string }, E>(
  name: string,
  cells: Cells,
  situations: { [name: string]: S },
  events: { [name: string]: readonly [E, number] },
  advance: (state: S, event: E, atMs: number) => Step<S>,
  leftOut: readonly string[],
): void {
  for (const [situation, state] of Object.entries(situations)) {
    test(`${name}, ${situation}: every event does what is written here, and all others move nothing`, () => {
      const expected: { [event: string]: string } = {};
      const actual: { [event: string]: string } = {};
      for (const [eventName, [event, atMs]] of Object.entries(events)) {
        expected[eventName] = written(cells, situation, eventName);
        actual[eventName] = tell(state, advance(state, event, atMs), leftOut) || nothing;
      }
      assert.deepEqual(actual, expected);
    });
  }
  test(`${name}: the table is of the situations that there are`, () => {
    assert.deepEqual(Object.keys(cells).sort(), Object.keys(situations).sort());
  });
}
