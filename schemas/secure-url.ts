// Keys and tokens go over TLS, or do not leave the machine.

/** What is in an address is told in messages and logs: a password has no place there.
 *  @param url one that can be parsed */
export function bearsNoCredentials(url: string): boolean {
  const { username, password } = new URL(url);
  return username === "" && password === "";
}

/** @param url one that can be parsed */
export function isSecure(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  if (protocol === "https:") return true;
  return protocol === "http:" && /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(hostname);
}
