// What a test may find of its own process's sockets.

/** TCP sockets that this process has open, listeners apart. */
export const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

/** @throws when more sockets than so many are still open by then */
export async function nothingLeftOpen(atMost: number, withinMs = 5000): Promise<void> {
  for (const until = performance.now() + withinMs; openSockets() > atMost; ) {
    if (performance.now() > until) throw new Error(`${openSockets()} sockets are open, ${atMost} may be`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
