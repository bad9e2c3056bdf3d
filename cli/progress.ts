// Progress on a terminal: lines that stay, and below them one line per thing under way, drawn anew as it changes.
// Anywhere else: plain lines only.
import { styleText } from "node:util";
import { printable } from "../schemas/text.ts";

export type Progress = {
  /** A line that stays. */
  line(text: string): void;
  /** What is under way under this name; null when it is over. */
  status(name: string, text: string | null): void;
  /** What somebody should look at. */
  alarm(text: string): void;
  readonly live: boolean;
};

export function createProgress(stream: NodeJS.WriteStream): Progress {
  const live = stream.isTTY === true && process.env["TERM"] !== "dumb";
  const under = new Map<string, string>();
  let drawn = 0;

  const clear = (): string => (drawn > 0 ? `\x1b[${drawn}A\x1b[0J` : "");
  const draw = (above = ""): void => {
    const width = Math.max(20, stream.columns || 80); // A serial console tells 0: it does not know.
    const lines = [...under.values()].map((text) => `${text.slice(0, width - 1)}\n`);
    stream.write(`${clear()}${above}${lines.join("")}`);
    drawn = lines.length;
  };
  const line = (text: string): void => {
    if (live) draw(`${text}\n`);
    else stream.write(`${text}\n`);
  };
  return {
    live,
    line: (text) => line(printable(text)),
    status: (name, text) => {
      if (!live) return;
      if (text === null) under.delete(name);
      else under.set(name, printable(text));
      draw();
    },
    alarm: (text) => line(styleText(["bold", "red"], `ALARM ${printable(text)}`, { stream })),
  };
}
