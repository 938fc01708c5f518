// Bundle the front end: crm_server/web/assets/src/{app.js,app.css} and the icons named in icons.txt, to
// crm_server/web/assets/dist, with the hash of the
// content in each name, so that browsers may keep the files for ever. manifest.json maps plain names to hashed
// ones ("app.js" to "app-1A2B3C4D.js"); the application reads it at start. Called by bin/setup.

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

const source = "crm_server/web/assets/src";
const target = "crm_server/web/assets/dist";
const fresh = `${target}.new`;

rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });

// Each file at the top of the source folder is an entry of its own; what it imports lies in folders below.
const entries = readdirSync(source, { withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(js|css)$/.test(entry.name))
  .map((entry) => join(source, entry.name));

const result = await build({
  entryPoints: entries,
  outdir: fresh,
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  metafile: true,
  target: ["chrome111", "firefox115", "safari16.4"],
  loader: { ".woff2": "file", ".woff": "file", ".ttf": "file", ".svg": "file", ".png": "file" },
  logLevel: "warning",
});

const manifest = {};
for (const [path, output] of Object.entries(result.metafile.outputs)) {
  if (output.entryPoint) manifest[basename(output.entryPoint)] = basename(path);
}

// One file with the icons in use; pages show one by <use href="…#name">.
const symbols = readFileSync(join(source, "icons.txt"), "utf8")
  .split("\n")
  .map((line) => line.trim())
  .filter(Boolean)
  .map((name) => {
    const drawn = readFileSync(`node_modules/@tabler/icons/icons/outline/${name}.svg`, "utf8");
    const paths = drawn.replace(/^[^]*?<svg[^>]*>/, "").replace("</svg>", "").replace(/<path stroke="none"[^>]*>/, "");
    return `<symbol id="${name}" viewBox="0 0 24 24">${paths.replace(/\s*\n\s*/g, "")}</symbol>`;
  });
const sprite = `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
manifest["icons.svg"] = `icons-${createHash("sha256").update(sprite).digest("hex").slice(0, 8)}.svg`;
writeFileSync(join(fresh, manifest["icons.svg"]), sprite);

writeFileSync(join(fresh, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);

// Packed once here, so that no worker packs them again for each browser.
for (const name of Object.values(manifest)) {
  writeFileSync(join(fresh, `${name}.gz`), gzipSync(readFileSync(join(fresh, name)), { level: 9 }));
}

// The old files go at once: pages that are open keep working from the browser's cache.
if (existsSync(target)) rmSync(target, { recursive: true });
renameSync(fresh, target);
