// Notices when whoever launched this process is gone (npm, a shell), also by kill -9: the system then gives the process
// another parent.
/** @returns how to stop watching */
export function whenLauncherGone(action: () => void, everyMs = 250): () => void {
  const launcher = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === launcher) return;
    clearInterval(timer);
    action();
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
