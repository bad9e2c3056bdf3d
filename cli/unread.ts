// Output that nobody takes any more (`drover demo | head -3`, a full disk) ends the command as SIGPIPE would end it in C,
// without a stack; whoever has something to take down first, or goes on regardless, says so here.
import { CommandFailure, exitCodes } from "./exit.ts";

function leave({ exitCode, message }: CommandFailure): void {
  if (exitCode !== exitCodes.unread) process.stderr.write(`drover: ${message}\n`);
  process.exit(exitCode);
}
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
    stream.on("error", (error) => act(unwritten(error)));
  }
}

/** Resolves when all of it is out of this process.
 *  @throws CommandFailure when it cannot be written, for what was not said must not pass for done */
export function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(unwritten(error)) : resolve()));
  });
}

function unwritten({ code, message }: NodeJS.ErrnoException): CommandFailure {
  return code === "EPIPE"
    ? new CommandFailure("interrupted: nobody reads the output any more", exitCodes.unread)
    : new CommandFailure(`the output cannot be written: ${message}`, exitCodes.failed);
}
