// A socket in the current folder that only this user reaches. Its name is relative: an absolute path may be longer than a
// socket's name can be.
import { chmodSync, rmSync } from "node:fs";
import type { Server } from "node:net";

/** @throws when the folder takes no socket */
export async function listenPrivately(server: Server, socketName: string): Promise<void> {
  rmSync(socketName, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    server.listen(socketName, () => resolve());
    process.umask(mask);
  });
  chmodSync(socketName, 0o600);
}
