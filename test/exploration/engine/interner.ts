// Gives every distinct part of a world one number, so that a state is a handful of numbers and nothing is kept twice.
// Exact: two parts have the same number only when they are the same as JSON.

export class Interner {
  readonly #byText = new Map<string, number>();
  readonly #byValue = new Map<object, number>();
  readonly #values: (object | null)[] = [null];

  /** 0 is null. */
  idOf(value: object | null): number {
    if (value === null) return 0;
    const known = this.#byValue.get(value);
    if (known !== undefined) return known;
    const text = JSON.stringify(value);
    const id = this.#byText.get(text);
    if (id !== undefined) return id;
    const next = this.#values.length;
    this.#values.push(value);
    this.#byText.set(text, next);
    this.#byValue.set(value, next);
    return next;
  }

  valueOf(id: number): object | null {
    return this.#values[id] ?? null;
  }

  /** Every distinct part that was ever seen. */
  all(): readonly (object | null)[] {
    return this.#values;
  }
}
