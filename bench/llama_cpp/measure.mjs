// One measurement of each kind, each in a process of its own. Results are
// {prefill: {tokens, tok_s}, decode: {tokens, tok_s}}.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

// Runs a program, its messages shown only if it fails; `under` goes before it.
export function run(command, under = "") {
  const [program, ...args] = [...under.split(" ").filter((word) => word !== ""), ...command];
  const result = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) {
    throw new Error(`${command.join(" ")}: ${result.signal ?? result.status}\n${result.stderr}`);
  }
  return result.stdout;
}

// Letters in no order; one token each, and one for the beginning.
function promptText(tokens) {
  let state = 1;
  const letter = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return String.fromCharCode(33 + ((state >>> 16) % 94));
  };
  return Array.from({ length: tokens - 1 }, letter).join("");
}

// `fathom bench` where the program has it: random tokens, steps without sampling.
function fathomBench(paths, options, numerics) {
  const command = [
    paths.fathom, "bench", "-m", paths.checkpoint, "--json", "--threads", `${options.threads}`,
    "--context", `${options.prompt + options.decode}`, "--batch", "1",
    "--steps", `${options.decode}`, "--prompt", `${options.prompt}`, "--chunk", `${options.chunk}`,
    "--seconds", "15",
  ];
  if (numerics !== "official") command.push("--numerics", numerics);
  const { decode, prefill, divergence } = JSON.parse(run(command, options.under));
  return {
    command: "bench",
    divergence,
    prefill: { tokens: options.prompt, tok_s: prefill[0].tok_s },
    decode: { tokens: options.decode, tok_s: decode[0].tok_s },
  };
}

// One greedy answer; the prompt's time includes the first touch of every page of the files.
function fathomRun(paths, options) {
  const prompt = path.join(paths.model, "prompt.txt");
  fs.writeFileSync(prompt, promptText(options.prompt));
  const command = [
    paths.fathom, "run", "-m", paths.checkpoint, "--raw", "-f", prompt, "--no-special-in-user-text",
    "--temp", "0", "--json", "--max-tokens", `${options.decode + 1}`,
    "--threads", `${options.threads}`, "--chunk", `${options.chunk}`,
    "--context", `${options.prompt + options.decode + 64}`,
  ];
  const answer = JSON.parse(run(command, options.under));
  if (answer.completion_tokens !== options.decode + 1) {
    throw new Error(`fathom generated ${answer.completion_tokens} tokens: ${answer.finish_reason}`);
  }
  return {
    command: "run",
    prefill: {
      tokens: answer.prompt_tokens,
      tok_s: answer.prompt_tokens / answer.prompt_seconds,
    },
    decode: { tokens: options.decode, tok_s: options.decode / answer.completion_seconds },
  };
}

export function measureFathom(paths, options, numerics = "official") {
  const hasBench = /^ +bench /m.test(run([paths.fathom, "--help"]));
  return hasBench ? fathomBench(paths, options, numerics) : fathomRun(paths, options);
}

export function measureLlama(paths, options) {
  const command = [
    process.execPath, path.join(paths.installed, "measure_llama.mjs"), paths.gguf,
    "--threads", `${options.threads}`, "--prompt", `${options.prompt}`,
    "--decode", `${options.decode}`, "--batch", `${options.chunk}`,
  ];
  const lines = run(command, options.under).trim().split("\n");
  return JSON.parse(lines[lines.length - 1]);
}

// Medians of the products' repetitions: {engine: {"shape/rows:N": {GB_s, GFLOP_s}}}.
export function measureProducts(paths, options) {
  const out = path.join(paths.model, "products.json");
  run([
    paths.products, `--ggml=${paths.ggml}`, `--threads=${options.threads}`,
    `--benchmark_out=${out}`, "--benchmark_out_format=json",
    `--benchmark_repetitions=${Math.max(options.rounds, 3)}`,
    "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.2",
  ], options.under);
  const engines = {};
  for (const entry of JSON.parse(fs.readFileSync(out, "utf8")).benchmarks) {
    if (entry.aggregate_name !== "median") continue;
    const [engine, shape, rows] = entry.run_name.split("/");
    engines[engine] ??= {};
    engines[engine][`${shape}/${rows}`] = { GB_s: entry.GB_s, GFLOP_s: entry.GFLOP_s };
  }
  return engines;
}
