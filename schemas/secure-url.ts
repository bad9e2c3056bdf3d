// Keys and tokens go over TLS, or do not leave the machine.

/** @param url one that can be parsed */
export function isSecure(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  if (protocol === "https:") return true;
  return protocol === "http:" && /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(hostname);
}
