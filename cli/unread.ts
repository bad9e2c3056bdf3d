// Output that nobody takes any more (`drover demo | head -3`, a full disk) ends the command as SIGPIPE would end it in C,
// without a stack; whoever has something to take down first, or goes on regardless, says so here.
import { CommandFailure, type ExitCode, exitCodes } from "./exit.ts";

const leave = ({ exitCode }: CommandFailure): void => process.exit(exitCode);
let act: (failure: CommandFailure) => void = leave;

/** @returns how to go back to ending at once */
export function whenUnread(action: (failure: CommandFailure) => void): () => void {
  act = action;
  return () => {
    act = leave;
  };
}

export function watchOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      const [why, exitCode]: [string, ExitCode] =
        code === "EPIPE"
          ? ["interrupted: nobody reads the output any more", exitCodes.unread]
          : [`the output cannot be written: ${message}`, exitCodes.failed];
      act(new CommandFailure(why, exitCode));
    });
  }
}
