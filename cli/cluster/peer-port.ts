// A port for the peer links of a local cluster. Its hosts listen there only while a migration is expected, and another
// cluster on this machine uses the same addresses: each takes a port of its own, by chance, out of many that the system
// gives to nobody by itself.
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const lowest = 20_000;
const highest = 32_000;
const tries = 20;

export async function choosePeerPort(addresses: string[]): Promise<number> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const port = randomInt(lowest, highest);
    const free = await Promise.all(addresses.map((address) => isFree(address, port)));
    if (free.every((one) => one)) return port;
  }
  throw new Error(`no port from ${lowest} to ${highest} is free on all of ${addresses.join(", ")}`);
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
