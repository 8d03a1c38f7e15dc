// One measurement of llama.cpp through node-llama-cpp: load, one warm-up, a prompt, then tokens one
// at a time. Prints one JSON object on the last line of standard output.
//
//   node measure_llama.mjs MODEL.gguf --threads N --prompt N --decode N --batch N
//
// The prompt's time ends when the first token is there: its last row has gone through the output
// head. A decode step is one call of the model and one greedy choice; the speed is that of the
// median step.
import { parseArgs } from "node:util";

import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "2" },
    prompt: { type: "string", default: "512" },
    decode: { type: "string", default: "48" },
    batch: { type: "string", default: "512" },
    verbose: { type: "boolean", default: false },
  },
});
const [threads, prompt, decode, batch] = [
  values.threads,
  values.prompt,
  values.decode,
  values.batch,
].map(Number);

const now = () => performance.now() / 1000;
// Ordinary tokens, spread over the vocabulary so that routing by token id spreads too.
const tokens = (count, first, vocabulary) =>
  Array.from({ length: count }, (_, i) => 2 + ((first + i * 7919) % (vocabulary - 2)));

const started = now();
const llama = await getLlama({
  gpu: false,
  build: "never",
  maxThreads: threads,
  logLevel: values.verbose ? LlamaLogLevel.debug : LlamaLogLevel.error,
});
const model = await llama.loadModel({ modelPath: positionals[0], gpuLayers: 0 });
const context = await model.createContext({
  contextSize: Math.ceil((prompt + decode + 64) / 256) * 256,
  batchSize: batch,
  threads: { ideal: threads, min: threads },
  sequences: 1,
});
const sequence = context.getSequence();
const vocabulary = model.fileInfo.metadata.deepseek4.vocab_size;
const loaded = now() - started;

// Yields the seconds until the first token and between tokens.
async function* times(input, count) {
  let before = now();
  const generated = sequence.evaluate(input, { temperature: 0, yieldEogToken: true });
  for await (const _ of generated) {
    const after = now();
    yield after - before;
    if (--count === 0) return;
    before = now();
  }
}

// Touches every page and starts the threads.
for await (const _ of times(tokens(32, 1, vocabulary), 4));
await sequence.clearHistory();

const seconds = [];
for await (const s of times(tokens(prompt, 77, vocabulary), decode + 1)) seconds.push(s);
const steps = seconds.slice(1).sort((a, b) => a - b);

console.log(
  JSON.stringify({
    prefill: { tokens: prompt, tok_s: prompt / seconds[0] },
    decode: { tokens: steps.length, tok_s: 1 / steps[steps.length >> 1] },
    threads: context.currentThreads || threads,
    load_s: loaded,
    release: llama.llamaCppRelease.release,
    flash_attention: context.flashAttention,
    mmap: model.useMmap,
  }),
);
await llama.dispose();
