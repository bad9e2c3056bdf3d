// Writes selftest-image.ts from selftest.asm. Run by hand after a change of the assembler source; needs nasm.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @throws when nasm is missing or refuses the source */
export function assemble(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "drover-guest-"));
  try {
    const output = join(folder, "selftest.bin");
    execFileSync("nasm", ["-f", "bin", "-o", output, join(import.meta.dirname, "selftest.asm")], { stdio: "pipe" });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const lines =
    assemble()
      .toString("base64")
      .match(/.{1,116}/g) ?? [];
  const source = [
    "// Assembled from selftest.asm by guest/build.ts; a test assembles it again and compares.",
    "const image =",
    ...lines.map((line, index) => `  "${line}"${index === lines.length - 1 ? ";" : " +"}`),
    "",
    "/** A multiboot image: header first, loaded at 1 MiB. */",
    'export const selftestImage = (): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(image, "base64"));',
    "",
  ];
  writeFileSync(join(import.meta.dirname, "selftest-image.ts"), lines.length === 0 ? "" : source.join("\n"));
}
