// The pages say what the program does.
import assert from "node:assert/strict";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { migrationPage, pagePath } from "../../docs/generate.ts";
import { problemCodes, problems } from "../../schemas/problems.ts";

const folder = new URL("../../docs/problems/", import.meta.url);

test("every problem has its page, and every page its problem", () => {
  const pages = readdirSync(folder).map((name) => name.replace(/\.md$/, ""));
  assert.deepEqual(pages.sort(), [...problemCodes].sort());
});

test("every page says what the problem means, why, and the way out, under its own title and status", () => {
  for (const code of problemCodes) {
    const text = readFileSync(new URL(`${code}.md`, folder), "utf8");
    const { title, status } = problems[code];
    assert.ok(text.startsWith(`# ${code}\n\n${title} (HTTP ${status})\n`), code);
    for (const part of ["**What it means.**", "**Why.**", "**The way out.**"])
      assert.ok(text.includes(part), `${code}: ${part}`);
  }
});

test("docs/migration.md is what the verdict table says today", () => {
  assert.equal(readFileSync(pagePath, "utf8"), migrationPage(), "run docs/generate.ts");
});

test("every page begins with its title and has something to say, and what it links to is there", () => {
  const root = join(import.meta.dirname, "..", "..");
  const pages = ["README.md", ...globSync("docs/**/*.md", { cwd: root })];
  const faults = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    const isPage = /^# .+\n\n[\s\S]{100,}/.test(text);
    const targets = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target = ""]) => target);
    const dead = targets.filter((target) => {
      return !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(page), target));
    });
    return [...(isPage ? [] : [`${page} is no page`]), ...dead.map((target) => `${page} links to ${target}`)];
  });
  assert.deepEqual(faults, []);
});
