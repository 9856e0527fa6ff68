// Hugging Face's own readers of headers: node hugging_face.mjs MODEL.gguf HF_DIRECTORY > ANSWER.json
// Answer: {"gguf": {metadata, tensors: {name: {shape, type}}, parameters},
//          "safetensors": {tensors: {name: {shape, type}}, parameters}}
import {readFileSync} from "node:fs";
import {gguf} from "@huggingface/gguf";
import {parseSafetensorsMetadata} from "@huggingface/hub";

const [ggufPath, directory] = process.argv.slice(2);

const file = await gguf(ggufPath, {allowLocalFile: true, computeParametersCount: true});
const ggufTensors = {};
for (const {name, shape, dtype} of file.tensorInfos) {
  ggufTensors[name] = {shape: shape.map(Number), type: Number(dtype)};
}

// The reader asks a hub for ranges of files; this is one that has the directory.
const fetchLocal = async (url, options = {}) => {
  const name = new URL(url instanceof Request ? url.url : String(url)).pathname.split("/").pop();
  let bytes;
  try {
    bytes = readFileSync(`${directory}/${name}`);
  } catch {
    return new Response("", {status: 404});
  }
  const headers = new Headers(options.headers);
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get("range") ?? "");
  const part = range ? bytes.subarray(Number(range[1]), Number(range[2]) + 1) : bytes;
  const answer = {
    etag: '"here"', "content-length": String(part.length),
    "content-range": `bytes ${range ? range[1] : 0}-${(range ? Number(range[1]) : 0) + part.length - 1}/${bytes.length}`
  };
  return new Response(options.method === "HEAD" ? null : part, {
    status: range ? 206 : 200, headers: answer
  });
};
const parsed = await parseSafetensorsMetadata({
  repo: "local/model", computeParametersCount: true, fetch: fetchLocal
});
const safetensors = {};
for (const [name, {shape, dtype}] of Object.entries(parsed.header)) {
  if (name !== "__metadata__") safetensors[name] = {shape, type: dtype};
}
const total = Object.values(parsed.parameterCount).reduce((sum, count) => sum + count, 0);

const replacer = (key, value) => (typeof value === "bigint" ? Number(value) : value);
process.stdout.write(JSON.stringify({
  gguf: {metadata: file.metadata, tensors: ggufTensors, parameters: file.parameterCount},
  safetensors: {tensors: safetensors, parameters: total}
}, replacer));
