// The adapters a local cluster may run on.
export const tableKinds = ["sqlite", "dynamodb"] as const;
export type TableKind = (typeof tableKinds)[number];

export const doorbellKinds = ["embedded", "sqs"] as const;
export type DoorbellKind = (typeof doorbellKinds)[number];

/** What the control plane is: a Node server, or what is deployed to AWS or Cloudflare. */
export const runtimeKinds = ["node", "lambda", "worker"] as const;
export type RuntimeKind = (typeof runtimeKinds)[number];
