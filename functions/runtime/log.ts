// What a runtime tells of itself: one JSON line each, as the application's own log has them.

export function logLine(event: string, data: { [name: string]: string }): string {
  return JSON.stringify({ at: new Date().toISOString(), event, ...data });
}

export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${textOf(error.cause)}` : error.message;
}
