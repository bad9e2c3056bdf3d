// Words that people write, and words that others say and people read: a terminal must never obey them.
import { z } from "zod";

/** Text without control characters, so that what is stored is no larger than three bytes a character. */
export const text = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, "no control characters");

const control = /[\p{Cc}\p{Cs}]+/gu;

/** Without what a terminal or a log would take for more than text. */
export const printable = (text: string): string => text.replace(control, " ");

/** What a host says of a failure: heard in any case, for a report must not fail on its wording. */
export const saidText = (max: number) => z.string().max(max).transform(printable);
