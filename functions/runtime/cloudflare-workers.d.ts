// What of Cloudflare's own module is used; its whole types are a package of 9 MB.
declare module "cloudflare:workers" {
  /** Keeps the present request's context alive until the promise is settled. */
  export function waitUntil(promise: Promise<unknown>): void;
}
