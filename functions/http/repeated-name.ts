// A JSON object that has a name twice means two things; parsers take the last one silently (RFC 8259, section 4).

/** @param json text that is known to be JSON
 *  @returns the pointer (RFC 6901) of the first name that its object has twice; null: none */
export function repeatedName(json: string): string | null {
  const open: { names: Set<string> | null; at: string | number }[] = [];
  let text = "";
  for (let index = 0; index < json.length; index++) {
    switch (json[index]) {
      case '"': {
        const end = endOfText(json, index);
        text = json.slice(index, end + 1);
        index = end;
        break;
      }
      case "{":
        open.push({ names: new Set(), at: "" });
        break;
      case "[":
        open.push({ names: null, at: 0 });
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ",": {
        const here = open.at(-1);
        if (typeof here?.at === "number") here.at += 1;
        break;
      }
      case ":": {
        const here = open.at(-1);
        if (!here?.names) break;
        here.at = text.includes("\\") ? (JSON.parse(text) as string) : text.slice(1, -1);
        if (here.names.has(here.at)) return open.map(({ at }) => `/${escaped(String(at))}`).join("");
        here.names.add(here.at);
      }
    }
  }
  return null;
}

/** Where the text that begins here has its other quote. */
function endOfText(json: string, begin: number): number {
  for (let end = begin + 1; end < json.length; end++) {
    if (json[end] === "\\") end++;
    else if (json[end] === '"') return end;
  }
  throw new SyntaxError("a text without an end");
}

const escaped = (part: string): string => part.replaceAll("~", "~0").replaceAll("/", "~1");
