// Makes one model twice, measures both programs in turns, prints both side by side. Started by
// run.sh, which installs and builds what is measured.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import { checkpointBytesPerToken, ggufBytesPerToken } from "./bytes.mjs";
import { keysOf, tensorsOf } from "./deepseek4.mjs";
import { writeGguf } from "./gguf.mjs";
import { measureFathom, measureLlama, measureProducts, run } from "./measure.mjs";

const help = `run.sh [options]: fathom and llama.cpp on one V4-Flash-shaped model

  --threads N   of both programs (2)
  --rounds N    measurements of each, in turns; medians are printed (3)
  --prompt N    tokens of the prompt (512)
  --decode N    tokens decoded after it (48)
  --chunk N     prompt tokens per pass, both programs (512)
  --layers N, --experts N, --vocab N
                of the model (8, 24, 129280: all of V4-Flash's vocabulary)
  --dir DIR     where the two files go, about 6 GB each (a new folder for temporary files)
  --keep        leave files and packages for the next run, which takes them as they are
  --only PART   model or products
  --fathom FILE another build of the program (build/release/fathom)
  --under CMD   put this before each measured command, such as "numactl -N 0 -m 0"
  --json        one JSON object instead of the table`;

const { values } = parseArgs({
  options: {
    root: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    prompt: { type: "string", default: "512" },
    decode: { type: "string", default: "48" },
    chunk: { type: "string", default: "512" },
    layers: { type: "string", default: "8" },
    experts: { type: "string", default: "24" },
    vocab: { type: "string", default: "129280" },
    dir: { type: "string" },
    fathom: { type: "string" },
    keep: { type: "boolean", default: false },
    only: { type: "string" },
    under: { type: "string", default: "" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}
const options = { ...values };
const counts = ["threads", "rounds", "prompt", "decode", "chunk", "layers", "experts", "vocab"];
for (const name of counts) {
  options[name] = Number(values[name]);
  if (!Number.isInteger(options[name]) || options[name] < 1) {
    console.error(`--${name}: expected a number from 1 on, found ${values[name]}`);
    process.exit(2);
  }
}

if (![undefined, "model", "products"].includes(values.only)) {
  console.error(`--only: expected model or products, found ${values.only}`);
  process.exit(2);
}

const installed = import.meta.dirname;
const dir = path.resolve(values.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), "fathom-llama-")));
const model = path.join(dir, `flash-${values.layers}-${values.experts}-${values.vocab}`);
const paths = {
  installed,
  model,
  checkpoint: path.join(model, "checkpoint"),
  gguf: path.join(model, "model.gguf"),
  fathom: path.resolve(values.fathom ?? path.join(values.root, "build/release/fathom")),
  products: path.join(values.root, "build/release/bench/llama_products_bench"),
  ggml: path.join(installed, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"),
};
const say = (text) => process.stderr.write(`${text}\n`);

// Both files; `done` says that nothing interrupted their writing.
function makeModel() {
  const done = path.join(model, "done");
  const readConfig = () => {
    return JSON.parse(fs.readFileSync(path.join(paths.checkpoint, "config.json"), "utf8"));
  };
  if (fs.existsSync(done)) return readConfig();
  say(`writing ${paths.checkpoint}`);
  fs.mkdirSync(model, { recursive: true });
  run([
    paths.fathom, "synth", "--preset", "flash", "--mtp", "off", "--layers", values.layers,
    "--experts", values.experts, "--vocab", values.vocab, "--force", "-o", paths.checkpoint,
  ]);
  const config = readConfig();
  say(`writing ${paths.gguf}`);
  writeGguf(paths.gguf, keysOf(config), tensorsOf(config));
  fs.writeFileSync(done, "");
  return config;
}

// Through the page cache once, so that no round waits for the disk; out of it before, because what
// was just written stands there in small pages, which some machines read slowly.
function warm(folder) {
  const buffer = Buffer.alloc(1 << 24);
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const name = path.join(entry.parentPath, entry.name);
    run(["sync", name]);
    run(["dd", `if=${name}`, "iflag=nocache", "count=0", "status=none"]);
    const file = fs.openSync(name, "r");
    while (fs.readSync(file, buffer) > 0);
    fs.closeSync(file);
  }
}

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
function median(numbers) {
  const s = sorted(numbers);
  return (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2;
}

// Speeds of both in every round; the ratio is the median of the rounds' ratios, whose two halves
// were measured one after the other.
function summary(rounds, part, own = "fathom") {
  const fathom = rounds.map((round) => round[own][part].tok_s);
  const llama = rounds.map((round) => round.llama[part].tok_s);
  const ratios = fathom.map((speed, i) => speed / llama[i]);
  return {
    fathom: { tok_s: median(fathom), all: fathom },
    llama_cpp: { tok_s: median(llama), all: llama },
    ratio: median(ratios),
    ratio_min: Math.min(...ratios),
    ratio_max: Math.max(...ratios),
  };
}

function measureModel() {
  const config = makeModel();
  warm(model);
  const rounds = [];
  for (let i = 0; i < options.rounds; ++i) {
    say(`round ${i + 1} of ${options.rounds}`);
    rounds.push({
      fathom: measureFathom(paths, options),
      fast: measureFathom(paths, options, "fast"),
      llama: measureLlama(paths, options),
    });
  }
  const bytes = {
    fathom: checkpointBytesPerToken(paths.checkpoint, config),
    llama_cpp: ggufBytesPerToken(config),
  };
  const decode = summary(rounds, "decode");
  for (const side of ["fathom", "llama_cpp"]) {
    decode[side].bytes_per_token = bytes[side];
    decode[side].gb_s = (decode[side].tok_s * bytes[side]) / 1e9;
  }
  const { release, flash_attention, mmap } = rounds[0].llama;
  return {
    fathom: { command: rounds[0].fathom.command },
    llama_cpp: { release, flash_attention, mmap },
    shape: {
      layers: config.num_hidden_layers,
      experts: config.n_routed_experts,
      vocab: config.vocab_size,
    },
    prompt_tokens: options.prompt,
    chunk: options.chunk,
    decode,
    prefill: summary(rounds, "prefill"),
    fast: {
      decode: summary(rounds, "decode", "fast"),
      prefill: summary(rounds, "prefill", "fast"),
      divergence: rounds[0].fast.divergence,
    },
  };
}

// llama.cpp repacks experts at loading where it can; that form is what the ratio is taken to.
function measureAllProducts() {
  say("products");
  const engines = measureProducts(paths, options);
  const byRows = ([a], [b]) => a.split(":")[1] - b.split(":")[1] || (a < b ? 1 : -1);
  return Object.entries(engines.fathom).sort(byRows).map(([name, fathom]) => {
    const [shape, rows] = name.split("/rows:");
    const unit = rows === "1" ? "GB_s" : "GFLOP_s";
    const stored = engines.ggml[name][unit];
    const repacked = engines.ggml_repacked?.[name][unit] ?? null;
    return {
      shape,
      rows: Number(rows),
      unit,
      fathom: fathom[unit],
      llama_cpp: repacked ?? stored,
      llama_cpp_as_stored: stored,
      ratio: fathom[unit] / (repacked ?? stored),
      ratio_as_stored: fathom[unit] / stored,
      fathom_fast: engines.fathom_fast[name][unit],
      ratio_fast: engines.fathom_fast[name][unit] / (repacked ?? stored),
      ratio_fast_as_stored: engines.fathom_fast[name][unit] / stored,
    };
  });
}

const head = () => {
  const names = [cell("fathom", 9), cell("llama.cpp", 10), cell("ratio", 7)];
  console.log(`${"".padEnd(40)}${names.join(" ")}`);
};
const cell = (text, width) => String(text).padStart(width);
function line(label, fathom, llama, ratio, note = "") {
  const digits = (value) => value.toFixed(value < 100 ? 2 : 0);
  const row = [cell(digits(fathom), 9), cell(digits(llama), 10), cell(ratio.toFixed(2), 7)];
  console.log(`${label.padEnd(40)}${row.join(" ")}  ${note}`.trimEnd());
}

function printModel(result) {
  const { decode, prefill, shape } = result;
  const range = ({ ratio_min, ratio_max }) => `${ratio_min.toFixed(2)} to ${ratio_max.toFixed(2)}`;
  const [own, other] = [decode.fathom, decode.llama_cpp];
  const gigabytes = ({ bytes_per_token }) => `${(bytes_per_token / 1e9).toFixed(2)} GB`;
  console.log(
    `Model: V4-Flash shapes, ${shape.layers} layers, ${shape.experts} experts, vocabulary ` +
      `${shape.vocab}, measured by fathom ${result.fathom.command}; bytes of weights per token: ` +
      `fathom ${gigabytes(own)}, llama.cpp ${gigabytes(other)}`,
  );
  head();
  line("decode, tokens/s", own.tok_s, other.tok_s, decode.ratio, range(decode));
  line("decode, GB/s of weights", own.gb_s, other.gb_s, own.gb_s / other.gb_s);
  const label = `prompt of ${result.prompt_tokens}, tokens/s`;
  line(label, prefill.fathom.tok_s, prefill.llama_cpp.tok_s, prefill.ratio, range(prefill));
  const { fast } = result;
  const { mean_kl, tokens } = fast.divergence;
  console.log(
    `fathom --numerics fast (mean KL from official ${mean_kl.toPrecision(2)} nats over ${tokens} ` +
      `tokens of this model of random weights)`,
  );
  for (const [name, part] of [["decode, tokens/s", fast.decode], [label, fast.prefill]]) {
    line(name, part.fathom.tok_s, part.llama_cpp.tok_s, part.ratio, range(part));
  }
}

function printProducts(products) {
  console.log(
    "FP4 products (ratio to llama.cpp's repacked weights; in brackets to weights as stored)",
  );
  head();
  for (const p of products) {
    const label = `${p.shape}, ${p.rows} row${p.rows > 1 ? "s" : ""}, ${p.unit.replace("_", "/")}`;
    const note = `(${p.llama_cpp_as_stored.toFixed(1)}, ${p.ratio_as_stored.toFixed(2)})`;
    line(label, p.fathom, p.llama_cpp, p.ratio, note);
    const stored = `(${p.llama_cpp_as_stored.toFixed(1)}, ${p.ratio_fast_as_stored.toFixed(2)})`;
    line("  fathom --numerics fast", p.fathom_fast, p.llama_cpp, p.ratio_fast, stored);
  }
}

function main() {
  const manifest = fs.readFileSync(path.join(installed, "package.json"), "utf8");
  const result = {
    threads: options.threads,
    rounds: options.rounds,
    node_llama_cpp: JSON.parse(manifest).dependencies["node-llama-cpp"],
    processor: os.cpus()[0].model,
  };
  if (values.only !== "products") result.model = measureModel();
  if (values.only !== "model") result.products = measureAllProducts();
  if (values.json) {
    console.log(JSON.stringify(result, null, 2));
    return;
  }
  const release = result.model === undefined ? "" : `, llama.cpp ${result.model.llama_cpp.release}`;
  console.log(
    `node-llama-cpp ${result.node_llama_cpp}${release}; ${options.threads} threads; ` +
      `medians of ${options.rounds} rounds, taken in turns; ${result.processor}`,
  );
  if (result.model !== undefined) printModel(result.model);
  if (result.products !== undefined) printProducts(result.products);
}

// An interrupt ends the child; what is left to do here is to clean up.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
try {
  fs.mkdirSync(model, { recursive: true });
  main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  if (!values.keep) fs.rmSync(values.dir === undefined ? dir : model, { recursive: true });
}
