// Validates custom resources: reads a JSON array of objects, writes a JSON array of messages for each.
// Two looks: the schema (types, patterns, enums, what is required), and TypeScript, which knows misspelt fields.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const require = createRequire(join(folder, "package.json"));
const ts = require("typescript");
const PACKAGES = {
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
  "networking.istio.io": "istio",
  "gateway.networking.k8s.io": "gateway-api",
  "gateway.envoyproxy.io": "envoy-gateway",
};
const OPTIONS = {
  noEmit: true, strict: true, skipLibCheck: true, noErrorTruncation: false,
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022,
};

const objects = JSON.parse(readFileSync(0, "utf8"));
const answers = objects.map(() => []);

function model(object) {
  const [group, version] = object.apiVersion.split("/");
  const name = PACKAGES[group];
  return name && `@kubernetes-models/${name}/${group}/${version}/${object.kind}`;
}

async function bySchema(object, index) {
  try {
    const path = join(folder, "node_modules", model(object) + ".js");
    const Kind = (await import(pathToFileURL(path)))[object.kind];
    new Kind(object).validate();
  } catch (error) {
    answers[index].push(error.code === "ERR_MODULE_NOT_FOUND" ? "no schema for this kind" : error.message);
  }
}

// Each object on a line of its own, so that the line of a message names the object.
function byType() {
  const lines = objects.map((object, i) => {
    const { kind } = object;
    const type = `import("${model(object)}").I${kind}`;
    return `export const o${i}: ${type} & {apiVersion: string, kind: "${kind}"} = ${JSON.stringify(object)};`;
  });
  const file = join(folder, "manifests.ts"); // never written: the compiler is given its text
  const host = ts.createCompilerHost(OPTIONS);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (path) => path === file || fileExists(path);
  host.readFile = (path) => (path === file ? lines.join("\n") : readFile(path));
  host.getSourceFile = (path, ...rest) =>
    path === file ? ts.createSourceFile(path, lines.join("\n"), ...rest) : getSourceFile(path, ...rest);
  const program = ts.createProgram([file], OPTIONS, host);
  for (const found of ts.getPreEmitDiagnostics(program)) {
    const line = found.file.getLineAndCharacterOfPosition(found.start).line;
    answers[line].push(ts.flattenDiagnosticMessageText(found.messageText, " ").slice(0, 300));
  }
}

const known = objects.map((object) => model(object) !== undefined);
for (const [index, object] of objects.entries()) {
  if (known[index]) await bySchema(object, index);
  else answers[index].push("no schema for this kind");
}
if (known.every(Boolean)) byType();
process.stdout.write(JSON.stringify(answers));
