// A connection to a socket in a folder, however long the folder's path is: the name of a socket has 107 bytes at most.
import { closeSync, constants, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";

const longestName = 107;

/** @throws when nobody listens there */
export async function connectInFolder(folder: string, name: string): Promise<Socket> {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= longestName) return connected(connect(path));
  // Through the open folder instead of its path.
  const handle = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await connected(connect(`/proc/self/fd/${handle}/${name}`));
  } finally {
    closeSync(handle);
  }
}

function connected(socket: Socket): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}
