// The adapters a local cluster may run on.
export const tableKinds = ["sqlite", "dynamodb"] as const;
export type TableKind = (typeof tableKinds)[number];

export const doorbellKinds = ["embedded", "sqs"] as const;
export type DoorbellKind = (typeof doorbellKinds)[number];
