// Lists as the API answers with them.
import { z } from "zod";

/** All there are. */
export const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item) });

/** A page; `nextCursor` is given back as `cursor` for the next one, and null on the last. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
