// Gives every distinct part of a world one number, so that a state is a handful of numbers and nothing is kept twice.
// Exact: two values have the same number only when they have the same fields with the same values. What is inside a
// value is numbered first, so that a value's own text stays short; values are never written to, so a number once given
// to an object stays true.

type Value = { [name: string]: unknown };

export class Interner {
  readonly #byText = new Map<string, number>();
  readonly #byValue = new Map<object, number>();
  readonly #values: (object | null)[] = [null];
  readonly #parts = new Set<number>([0]);

  /** The number of a part of a state; 0 is null. */
  partIdOf(part: object | null): number {
    const id = part === null ? 0 : this.#idOf(part);
    this.#parts.add(id);
    return id;
  }

  valueOf(id: number): object | null {
    return this.#values[id] ?? null;
  }

  /** Every distinct part that was ever seen. */
  parts(): (object | null)[] {
    return [...this.#parts].map((id) => this.valueOf(id));
  }

  #idOf(value: object): number {
    const known = this.#byValue.get(value);
    if (known !== undefined) return known;
    const text = this.#textOf(value as Value);
    const id = this.#byText.get(text);
    if (id !== undefined) return id;
    const next = this.#values.length;
    this.#values.push(value);
    this.#byText.set(text, next);
    this.#byValue.set(value, next);
    return next;
  }

  #textOf(value: Value): string {
    let text = Array.isArray(value) ? "[" : "{";
    for (const name in value) {
      const inner = value[name];
      if (inner === undefined) continue;
      if (typeof inner === "object" && inner !== null) text += `${name}#${this.#idOf(inner)},`;
      else text += typeof inner === "string" ? `${name}"${inner}",` : `${name}:${inner},`;
    }
    return text;
  }
}
