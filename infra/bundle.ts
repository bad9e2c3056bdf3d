// The control plane as one file for each platform that takes no more: AWS Lambda and Cloudflare Workers.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { type BuildOptions, build, type Plugin } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What each platform brings itself stays out of its bundle. */
const platforms = {
  lambda: {
    entryPoints: ["functions/runtime/lambda.ts"],
    platform: "node",
    // Packages as modules: only of those can esbuild leave out what is not used.
    mainFields: ["module", "main"],
    external: ["node:*"],
    // Packages of the older module system ask for Node's modules by `require`, which a module does not have.
    banner: {
      js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
    },
  },
  worker: {
    entryPoints: ["functions/runtime/worker.ts"],
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*"],
  },
} satisfies { [name: string]: BuildOptions };

/** zod brings its messages in 50 languages, a third of a Worker, of which English alone is spoken here. */
const englishAlone: Plugin = {
  name: "english-alone",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/].*locales[\\/]index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    }));
  },
};

/** Lambda hands its role's credentials over in the environment, so that the SDK need not look for any elsewhere. Its ways
 *  to do so are a fifth of the bundle, and loading is what a cold start waits for. */
const credentialsAreGiven: Plugin = {
  name: "credentials-are-given",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]@aws-sdk[\\/]credential-provider-node[\\/]/ }, () => ({
      contents: 'export const defaultProvider = () => () => { throw new Error("no credentials were given"); };',
    }));
  },
};

export type Platform = keyof typeof platforms;
export const platformNames = Object.keys(platforms) as Platform[];

/** `imports` is what it asks of its platform. */
export type Bundle = { source: string; imports: string[]; bytes: number; gzipBytes: number };

export async function bundle(platform: Platform): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    target: "es2024",
    minify: true,
    legalComments: "none",
    logLevel: "warning",
    write: false,
    metafile: true,
    plugins: [englishAlone, credentialsAreGiven],
    ...platforms[platform],
  });
  const file = outputFiles[0];
  if (!file) throw new Error(`esbuild made nothing for ${platform}`);
  const imports = new Set(Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path)));
  return {
    source: file.text,
    imports: [...imports],
    bytes: file.contents.length,
    gzipBytes: gzipSync(file.contents).length,
  };
}

export const bundlePath = (platform: Platform, out = join(root, "dist")): string =>
  join(out, platform, `${platform}.mjs`);

if (import.meta.main) {
  for (const platform of platformNames) {
    const { source, bytes, gzipBytes } = await bundle(platform);
    const path = bundlePath(platform);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, source);
    const kib = (size: number): string => `${Math.ceil(size / 1024)} KiB`;
    process.stdout.write(`dist/${platform}/${platform}.mjs: ${kib(bytes)}, ${kib(gzipBytes)} by gzip\n`);
  }
}
