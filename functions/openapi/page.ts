// The document as a page to read: HTML made of it, without a script, and nothing loaded from elsewhere.
import type { Json, JsonObject } from "./schemas.ts";

export function renderPage(document: JsonObject): string {
  const info = at(document, "info");
  const tags = document["tags"] as { name: string; description: string }[];
  const operations = Object.entries(at(document, "paths")).flatMap(([path, methods]) =>
    Object.entries(methods as JsonObject).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation: operation as JsonObject,
    })),
  );
  const sections = tags.map(({ name, description }) => {
    const own = operations.filter(({ operation }) => (operation["tags"] as string[]).includes(name));
    return `<h2 id="${escaped(name)}">${escaped(name)}</h2><p>${escaped(description)}</p>${own.map(renderOperation).join("")}`;
  });
  const schemas = Object.entries(at(at(document, "components"), "schemas")).map(
    ([name, schema]) =>
      `<details id="schema-${escaped(name)}"><summary><code>${escaped(name)}</code></summary>${renderJson(schema)}</details>`,
  );
  const contents = operations.map(
    ({ method, path, operation }) =>
      `<tr><td><b>${method}</b></td><td><a href="#${idOf(operation)}"><code>${escaped(path)}</code></a></td><td>${escaped(String(operation["summary"]))}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(String(info["title"]))} API</title><style>${style}</style></head>
<body><main><h1>${escaped(String(info["title"]))} API</h1>
<p>${escaped(String(info["summary"]))}</p><p>${withCode(String(info["description"]))}</p>
<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI ${escaped(String(document["openapi"]))}).</p>
<table>${contents.join("")}</table>
${sections.join("")}
<h2 id="schemas">Schemas</h2>${schemas.join("")}
</main></body></html>
`;
}

type Operation = { path: string; method: string; operation: JsonObject };

function renderOperation({ path, method, operation }: Operation): string {
  const scope = operation["x-scope"] ? `<p>Scope: <code>${escaped(String(operation["x-scope"]))}</code></p>` : "";
  const parameters = ((operation["parameters"] ?? []) as JsonObject[]).map(
    (each) =>
      `<tr><td><code>${escaped(String(each["name"]))}</code></td><td>${escaped(String(each["in"]))}${each["required"] ? ", required" : ""}</td><td>${renderSchema(each["schema"] ?? null)}</td></tr>`,
  );
  const body = operation["requestBody"] ? contentOf(operation["requestBody"] as JsonObject) : null;
  const responses = Object.entries(at(operation, "responses")).map(([status, response]) => {
    const told = response as JsonObject;
    const schema = status.startsWith("2") ? renderSchema(contentOf(told)) : "";
    return `<tr><td><b>${status}</b></td><td>${paragraphs(String(told["description"]))}${schema}</td></tr>`;
  });
  return `<section id="${idOf(operation)}"><h3><b>${method}</b> <code>${escaped(path)}</code></h3>
<p>${escaped(String(operation["summary"]))}</p>${scope}
${parameters.length > 0 ? `<h4>Parameters</h4><table>${parameters.join("")}</table>` : ""}
${body ? `<h4>Body</h4>${renderSchema(body)}` : ""}
<h4>Answers</h4><table>${responses.join("")}</table></section>
`;
}

const contentOf = (of: JsonObject): Json => {
  const [media] = Object.values((of["content"] ?? {}) as JsonObject);
  return (media as JsonObject | undefined)?.["schema"] ?? null;
};

/** A reference as a link, what is short on its line, the rest folded away. */
function renderSchema(schema: Json): string {
  const name = typeof schema === "object" && !Array.isArray(schema) ? schema?.["$ref"] : null;
  if (typeof name === "string") {
    const id = name.slice(name.lastIndexOf("/") + 1);
    return `<a href="#schema-${escaped(id)}"><code>${escaped(id)}</code></a>`;
  }
  const text = JSON.stringify(schema);
  return text.length < 120
    ? `<code>${escaped(text)}</code>`
    : `<details><summary>schema</summary>${renderJson(schema)}</details>`;
}

/** Names of other schemas in it lead to them. */
function renderJson(schema: Json): string {
  const text = escaped(JSON.stringify(schema, null, 2));
  return `<pre>${text.replaceAll(/#\/components\/schemas\/([A-Za-z]+)/g, '<a href="#schema-$1">$1</a>')}</pre>`;
}

const at = (of: JsonObject, name: string): JsonObject => (of[name] ?? {}) as JsonObject;
const idOf = (operation: JsonObject): string => escaped(String(operation["operationId"]));
const paragraphs = (text: string): string =>
  text
    .split("\n\n")
    .map((each) => `<p>${withCode(each)}</p>`)
    .join("");
const withCode = (text: string): string => escaped(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const style = `
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}
pre{overflow:auto;padding:.75rem;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%}
td{border-top:1px solid var(--line);padding:.35rem .75rem .35rem 0;vertical-align:top;overflow-wrap:anywhere}
td p{margin:0 0 .35rem}
section{border-top:2px solid var(--line);margin-top:1.5rem}
h4{margin:.75rem 0 .25rem}
summary{cursor:pointer}
`;
