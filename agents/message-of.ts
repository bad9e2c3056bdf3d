// What an error says, with what caused it: "writing the journal durably" alone sends nobody to the full disk.
const causesAtMost = 5;

export function messageOf(error: unknown): string {
  const messages: string[] = [];
  let next = error;
  for (let depth = 0; depth < causesAtMost && next !== undefined && next !== null; depth += 1) {
    const message = next instanceof Error ? next.message : String(next);
    // Some errors repeat their cause's words, and some have none of their own.
    if (message !== "" && !messages.some((said) => said.includes(message))) messages.push(message);
    next = next instanceof Error ? next.cause : undefined;
  }
  return messages.length > 0 ? messages.join(": ") : String(error);
}
