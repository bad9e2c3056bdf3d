// The package: the same program as plain JavaScript in dist/, which any Node of the supported versions runs.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** What the package holds; tests and this tool stay out. */
const folders = ["schemas", "functions", "agents", "cli", "infra"];
// The bundles are built from sources, by a tool that the package does not bring.
const leftOut = [
  "infra/build.ts",
  "infra/check.ts",
  "infra/check-demo.ts",
  "infra/boundaries.ts",
  "infra/bundle.ts",
  "infra/local/front-main.ts",
  "infra/local/worker.ts",
];

/** @param out made anew */
export function build(out = join(root, "dist")): void {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const options = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8")).compilerOptions;
  const config = {
    compilerOptions: {
      ...options,
      noEmit: false,
      allowImportingTsExtensions: true,
      rootDir: root,
      outDir: out,
      sourceMap: false,
    },
    include: folders.map((folder) => join(root, folder)),
    exclude: leftOut.map((file) => join(root, file)),
  };
  const configFile = join(root, "node_modules", `.drover-build-${process.pid}.json`);
  writeFileSync(configFile, JSON.stringify(config));
  try {
    const tsc = spawnSync(join(root, "node_modules", ".bin", "tsc"), ["-p", configFile], {
      cwd: root,
      encoding: "utf8",
    });
    if (tsc.status !== 0) throw new Error(`tsc: ${tsc.error?.message ?? ""}${tsc.stdout}${tsc.stderr}`);
  } finally {
    rmSync(configFile, { force: true });
  }
  for (const folder of [...folders, "docs/problems"]) copyAssets(folder, out);
  writePackage(out);
}

/** What is no program: the guest's image, pages, definitions. */
function copyAssets(folder: string, out: string): void {
  for (const file of globSync(`${folder}/**/*.*`, { cwd: root })) {
    if (/\.(ts|mts)$/.test(file)) continue;
    mkdirSync(dirname(join(out, file)), { recursive: true });
    copyFileSync(join(root, file), join(out, file));
  }
}

function writePackage(out: string): void {
  const { name, version, description, license, type, engines, dependencies, optionalDependencies, devDependencies } =
    JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  // For the demo on the adapters for AWS: local servers that speak their wire.
  const servers = {
    fauxqs: devDependencies.fauxqs,
    "@dynoxide/linux-x64": optionalDependencies["@dynoxide/linux-x64"],
  };
  const manifest = {
    name,
    version,
    description,
    license,
    type,
    engines,
    bin: { drover: "cli/main.js" },
    dependencies,
    optionalDependencies: servers,
  };
  writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  const command = join(out, "cli", "main.js");
  writeFileSync(command, `#!/usr/bin/env node\n${readFileSync(command, "utf8")}`);
  chmodSync(command, 0o755);
}

if (import.meta.main) {
  build();
  process.stdout.write("built dist/\n");
}
