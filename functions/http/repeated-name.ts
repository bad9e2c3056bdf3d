// A JSON object that has a name twice means two things; parsers take the last one silently (RFC 8259, section 4).

const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/** @param json text that is known to be JSON
 *  @returns the pointer (RFC 6901) of the first name that its object has twice; null: none */
export function repeatedName(json: string): string | null {
  const open: { names: Set<string> | null; at: string | number }[] = [];
  let last = "";
  for (const [word] of json.matchAll(token)) {
    const here = open.at(-1);
    if (word === "{") open.push({ names: new Set(), at: "" });
    else if (word === "[") open.push({ names: null, at: 0 });
    else if (word === "}" || word === "]") open.pop();
    else if (word === "," && typeof here?.at === "number") here.at += 1;
    else if (word === ":" && here?.names) {
      here.at = JSON.parse(last) as string;
      if (here.names.has(here.at)) return open.map(({ at }) => `/${escaped(String(at))}`).join("");
      here.names.add(here.at);
    } else last = word;
  }
  return null;
}

const escaped = (part: string): string => part.replaceAll("~", "~0").replaceAll("/", "~1");
