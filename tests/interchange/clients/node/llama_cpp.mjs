// llama.cpp's view of a GGUF file: node llama_cpp.mjs MODEL.gguf REQUEST.json > ANSWER.json
// Request: {"texts": [text, ..], "tokens": [id, ..], "generate": count}
// Answer:  {"ids": [[id, ..] a text], "log_probs": [[nats, .. one a piece] a token], "text": text,
//           "decoded": [text a text]}
import {readFileSync} from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, requestPath] = process.argv.slice(2);
const request = JSON.parse(readFileSync(requestPath, "utf8"));

const llama = await getLlama({
  gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error
});
const model = await llama.loadModel({modelPath});
// Keys and values in half precision alone would cost three digits.
const context = await model.createContext({
  contextSize: request.tokens.length + request.generate + 8,
  flashAttention: false,
  experimentalKvCacheKeyType: "F32",
  experimentalKvCacheValueType: "F32"
});
const sequence = context.getSequence();

const answer = {
  ids: request.texts.map((text) => [...model.tokenize(text, false)]),
  decoded: request.texts.map((text) => model.detokenize(model.tokenize(text, false)))
};
const wanted = request.tokens.map((token) => [token, {generateNext: {probabilities: true}}]);
const outputs = await sequence.controlledEvaluate(wanted);
answer.log_probs = outputs.map(({next}) => {
  const row = [];
  for (const [token, probability] of next.probabilities) row[token] = Math.log(probability);
  return row.map((value) => (Number.isFinite(value) ? value : -1e9));  // JSON has no infinity
});

await sequence.clearHistory();
const generated = [];
if (request.generate > 0) {
  for await (const token of sequence.evaluate(request.tokens, {temperature: 0})) {
    generated.push(token);
    if (generated.length >= request.generate) break;
  }
}
answer.generated = generated;
answer.text = model.detokenize(generated);
process.stdout.write(JSON.stringify(answer));
process.exit(0);
