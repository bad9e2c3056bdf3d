// Is an address one of this machine's? Only the system knows: all of 127.0.0.0/8 is, and no list of interfaces says so.
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";

const shownAtMost = 8;

/** @throws when nothing can listen there: the message says why, and which addresses there are */
export async function requireOwnAddress(address: string): Promise<void> {
  const server = createServer();
  const failure = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
    server.once("error", resolve);
    server.listen({ host: address, port: 0, exclusive: true }, () => server.close(() => resolve(null)));
  });
  if (!failure) return;
  if (failure.code !== "EADDRNOTAVAIL") throw new Error(`nothing can listen on ${address} (${failure.code})`);
  throw new Error(`${address} is not an address of this machine, which has ${listAddresses()}`);
}

function listAddresses(): string {
  const found = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address }) => `${address} (${name})`),
  );
  const shown = found.slice(0, shownAtMost).join(", ");
  return found.length > shownAtMost ? `${shown} and ${found.length - shownAtMost} more` : shown || "none";
}
