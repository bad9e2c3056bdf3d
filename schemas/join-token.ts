// A one-time token that a host joins its cluster with.
import { z } from "zod";
import { HostId } from "./ids.ts";

export const JoinToken = z
  .object({
    token: z.string().meta({ description: "Good for one host, once. Nobody can read it again." }),
    host: HostId,
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: "JoinToken" });
