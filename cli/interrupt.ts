// Ctrl-C and its relatives, the death of whoever launched this process, and output that nobody reads any more, as one
// promise and one signal.
import { whenLauncherGone } from "../infra/launcher.ts";
import { CommandFailure, exitCodes } from "./exit.ts";
import { whenUnread } from "./unread.ts";

export type Interrupt = {
  signal: AbortSignal;
  /** Rejects when it comes. */
  promise: Promise<never>;
  /** It was asked for, by a signal, and is no failure where it is what was waited for. */
  wasAsked(): boolean;
  /** Gives the signals back to the system's ways. */
  dispose(): void;
};

export function awaitInterrupt(): Interrupt {
  const controller = new AbortController();
  const interrupt = (why: string) => {
    controller.abort(new CommandFailure(why, exitCodes.interrupted));
  };
  const promise = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(controller.signal.reason), { once: true });
  });
  promise.catch(() => {});
  let wasAsked = false;
  const onSignal = (name: NodeJS.Signals) => {
    wasAsked ||= !controller.signal.aborted;
    interrupt(`interrupted by ${name}`);
  };
  const signals: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const name of signals) process.on(name, onSignal);
  const stopWatching = whenLauncherGone(() => interrupt("interrupted: whoever launched this is gone"));
  const stopListening = whenUnread((failure) => controller.abort(failure));
  return {
    signal: controller.signal,
    promise,
    wasAsked: () => wasAsked,
    dispose: () => {
      stopWatching();
      stopListening();
      for (const name of signals) process.removeListener(name, onSignal);
    },
  };
}
