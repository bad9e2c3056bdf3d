/** What `ps` shows, so that whoever looks for a guest's processes finds them by its VM or its copy. */
export function nameProcess(part: "guest" | "supervisor", { vmId, copyId }: { vmId: string; copyId: string }): void {
  process.title = `drover-${part} ${vmId} ${copyId}`;
}
