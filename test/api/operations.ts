// The document's shape, as far as tests look at it.
export type JsonSchema = { [name: string]: unknown };
export type Parameter = { name: string; in: "path" | "query" | "header"; required: boolean; schema: JsonSchema };
export type Operation = {
  operationId: string;
  summary: string;
  tags: string[];
  "x-scope"?: string;
  parameters?: Parameter[];
  requestBody?: { required: boolean; content: { "application/json": { schema: JsonSchema } } };
  responses: { [status: string]: { content: { [media: string]: { schema: JsonSchema } } } };
};
export type Document = {
  openapi: string;
  paths: { [path: string]: { [method: string]: Operation } };
  components: {
    schemas: { [name: string]: JsonSchema };
    examples: { [name: string]: { value: unknown } };
  };
};

export type Described = { method: string; path: string; operation: Operation };

export function operationsOf({ paths }: Document): Described[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
}
