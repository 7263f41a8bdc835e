// Checks custom resources in YAML files against the schemas that their projects publish, and prints each document's problems.
//
//   node check.mjs PACKAGES FILE...      PACKAGES: the directory that ../crd-install prints
//
// Each document is checked twice, because no package refuses everything that a cluster would. The TypeScript type of the
// package finds unknown fields, wrong types, missing members and unknown values. The package's validator, compiled from
// the OpenAPI schema, finds wrong lengths, ranges, patterns and formats. CEL rules of the schemas
// (x-kubernetes-validations) are in no package and are not checked.
//
// Documents of other groups are only counted. Exit code 0: no problems; 1: problems; 2: the check failed.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

// The package for an API group. Each kind is a module <group>/<version>/<Kind> in it.
const PACKAGES = {
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "networking.istio.io": "@kubernetes-models/istio",
  "security.istio.io": "@kubernetes-models/istio",
  "telemetry.istio.io": "@kubernetes-models/istio",
};
const ADDITIONS = join(dirname(fileURLToPath(import.meta.url)), "additions.d.ts");

const [root, ...files] = process.argv.slice(2);
if (root === undefined) {
  console.error("usage: node check.mjs PACKAGES FILE...");
  process.exit(2);
}
const packages = resolve(root, "node_modules");
const require = createRequire(join(packages, "_"));
const ts = require("typescript");
const yaml = require("yaml");
for (const [name, wanted] of Object.entries(createRequire(import.meta.url)("./package.json").dependencies)) {
  if (version(name) === wanted) continue;
  console.error(`${name} is ${version(name)} in ${packages}, not ${wanted}: run tests/crd-install`);
  process.exit(2);
}

function version(name) {
  return JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8")).version;
}

// A document's kind, and how to import its type; null for kinds that are not checked here.
function identify(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  if (value.apiVersion === undefined) {
    // Values for the istiod chart. MeshConfig is not a custom resource, and in no package: additions.d.ts declares it.
    if (value.meshConfig === undefined) return null;
    return { title: "MeshConfig", type: "IstiodValues", from: "./additions.js", by: "additions.d.ts" };
  }
  const [group, apiVersion] = String(value.apiVersion).split("/");
  const name = PACKAGES[group];
  const title = `${value.kind} ${value.metadata?.name ?? "without a name"}`;
  // Kubernetes' own groups are one word or below k8s.io, as are Kustomize's. Resources of any other group would stay unchecked.
  if (name === undefined && group.includes(".") && !group.endsWith(".k8s.io")) {
    return { title, missing: `nothing here has schemas of ${group}: add a package to package.json, or do without ${value.kind}` };
  }
  if (name === undefined) return null;
  const path = join(name, group, apiVersion ?? "", String(value.kind));
  if (!existsSync(join(packages, `${path}.d.ts`))) {
    return { title, missing: `${value.apiVersion} has no kind ${value.kind} in ${name} ${version(name)}` };
  }
  const module = join(packages, `${path}.js`);
  return { title, type: `I${value.kind}`, from: path, module, kind: value.kind, by: `${name} ${version(name)}` };
}

// The document as a TypeScript literal, and the position of each YAML node in it: [offset, path, line].
function literal(document, lines) {
  const places = [];
  let text = "";
  const emit = (found, path, at) => {
    const node = yaml.isAlias(found) ? found.resolve(document) : found;
    const start = node?.range?.[0] ?? at;
    places.push([text.length, path, lines.linePos(start).line]);
    if (yaml.isMap(node)) {
      text += "{";
      for (const { key, value } of node.items) {
        const name = String(key.value ?? key);
        const member = path === "" ? name : `${path}.${name}`;
        places.push([text.length, member, lines.linePos(key.range[0]).line]);
        text += `${JSON.stringify(name)}: `;
        emit(value, member, key.range[0]);
        text += ",\n";
      }
      text += "}";
    } else if (yaml.isSeq(node)) {
      text += "[";
      node.items.forEach((item, index) => {
        emit(item, `${path}[${index}]`, start);
        text += ",\n";
      });
      text += "]";
    } else {
      text += JSON.stringify(node?.toJSON?.() ?? null);
    }
  };
  emit(document.contents, "", 0);
  return { text, places };
}

function typesOf(documents) {
  // Both files exist only for the compiler, beside the packages, where it finds them.
  const name = join(packages, "..", "documents.ts");
  let text = "";
  for (const [index, { what }] of documents.entries()) {
    text += `import type { ${what.type} as T${index} } from ${JSON.stringify(what.from)};\n`;
  }
  for (const [index, document] of documents.entries()) {
    document.start = text.length;
    text += `export const d${index}: T${index} = `;
    document.offset = text.length;
    text += `${document.text};\n`;
    document.end = text.length;
  }
  const options = {
    module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022,
    strict: true, noEmit: true, types: [], skipLibCheck: true,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  const additions = join(packages, "..", "additions.d.ts");
  const ours = new Map([[name, text], [additions, readFileSync(ADDITIONS, "utf8")]]);
  host.fileExists = (file) => ours.has(file) || fileExists(file);
  host.readFile = (file) => ours.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) =>
    ours.has(file) ? ts.createSourceFile(file, ours.get(file), ...rest) : getSourceFile(file, ...rest);
  const program = ts.createProgram([name, additions], options, host);
  const broken = [];
  for (const found of ts.getPreEmitDiagnostics(program)) {
    let message = ts.flattenDiagnosticMessageText(found.messageText, " ").replace(/\s+/g, " ");
    // TypeScript's codes for a member that the type does not have; the type is printed in full, and can be a page long.
    if ([2353, 2561].includes(found.code)) message = message.replace(/^.*does not exist in type '.*?'\./, "unknown field.");
    const at = found.file?.fileName === name ? found.start : -1;
    const document = documents.find((one) => at >= one.start && at < one.end);
    if (document === undefined) {
      broken.push(`${found.file?.fileName ?? "typescript"}: ${message}`);
      continue;
    }
    // What is missing at the top level is reported at the name before it.
    const [, path, line] = document.places.findLast(([start]) => start <= Math.max(at - document.offset, 0));
    document.wrong.push({ path, line, message });
  }
  return broken;
}

async function validate(document) {
  if (document.what.module === undefined) return;
  const kinds = await import(pathToFileURL(document.what.module));
  try {
    new kinds[document.what.kind](document.value).validate();
  } catch (error) {
    if (error.errors === undefined) throw error;
    for (const found of error.errors) {
      const path = found.instancePath.replace(/^\//, "").replace(/\/(\d+)/g, "[$1]").replaceAll("/", ".");
      const line = document.places.find(([, other]) => other === path)?.[2] ?? document.line;
      document.wrong.push({ path, line, message: `${found.message ?? found.keyword} (${found.keyword})` });
    }
  }
}

const documents = [];
let wrong = 0;
let others = 0;
for (const file of files) {
  const lines = new yaml.LineCounter();
  // 1.1, as Kubernetes reads it: an unquoted `on` or `yes` is a boolean.
  const parsed = yaml.parseAllDocuments(readFileSync(file, "utf8"), { version: "1.1", lineCounter: lines });
  for (const one of parsed) {
    for (const error of one.errors) {
      wrong += 1;
      console.log(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message.split("\n")[0]}`);
    }
    if (one.errors.length > 0 || one.contents === null) continue;
    const value = one.toJS();
    const what = identify(value);
    const line = lines.linePos(one.contents.range[0]).line;
    if (what === null) {
      others += 1;
    } else if (what.missing !== undefined) {
      wrong += 1;
      console.log(`${file}:${line}: ${what.missing}`);
    } else {
      documents.push({ file, line, value, what, wrong: [], ...literal(one, lines) });
    }
  }
}
if (documents.length > 0) {
  const broken = typesOf(documents);
  if (broken.length > 0) {
    console.error(broken.join("\n"));
    process.exit(2);
  }
}
for (const document of documents) {
  await validate(document);
  const { file, line, what } = document;
  const verdict = document.wrong.length === 0 ? "ok" : "wrong";
  console.log(`${file}:${line}: ${what.title}: ${verdict} (${what.by})`);
  // Both checks find a wrong type, and the validator repeats some problems for each branch of the schema.
  const unique = new Map(document.wrong.map((found) => [`${found.line} ${found.message}`, found]));
  for (const found of unique.values()) {
    wrong += 1;
    console.log(`${file}:${found.line}: ${found.path || "(top)"}: ${found.message}`);
  }
}
console.log(`${documents.length} checked, ${others} of other groups, ${wrong} wrong`);
process.exit(wrong > 0 ? 1 : 0);
