// Whole numbers in addresses, where everything is text.
import { z } from "zod";

/** Digits alone: what else a program might read as a number (`1e1`, `0x10`, ` 7`, nothing) is somebody's mistake. */
export const wholeNumber = (min: number, max: number) => {
  const error = `a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,16}$/, { error, abort: true })
    .transform(Number)
    .pipe(z.int().min(min, { error }).max(max, { error }));
};
