// How the command ends. The codes are part of its interface: docs in `drover --help`.
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unauthorised: 4,
  conflict: 5,
  refused: 7,
  timedOut: 124,
  interrupted: 130,
  unread: 141,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An end that is told in words, without a stack: it is not a fault of the program. */
export class CommandFailure extends Error {
  override name = "CommandFailure";
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

export class UsageError extends CommandFailure {
  override name = "UsageError";
  constructor(message: string) {
    super(message, exitCodes.usage);
  }
}
