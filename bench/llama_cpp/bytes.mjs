// Bytes of weights that one decoded token reads, on either side: every tensor once, of the routed
// experts only those of one token. Embedding rows and rows of the hash table count nothing.
import fs from "node:fs";
import path from "node:path";

import { tensorBytes } from "./gguf.mjs";
import { tensorsOf } from "./deepseek4.mjs";

function sum(tensors, config) {
  const share = config.num_experts_per_tok / config.n_routed_experts;
  const part = ({ name }) => {
    if (/^embed\.|^token_embd\.|tid2eid/.test(name)) return 0;
    return /\.experts\.|_exps\./.test(name) ? share : 1;
  };
  return tensors.reduce((total, tensor) => total + tensor.bytes * part(tensor), 0);
}

export function ggufBytesPerToken(config) {
  const tensors = tensorsOf(config).map((t) => ({ name: t.name, bytes: tensorBytes(t) }));
  return sum(tensors, config);
}

// A safetensors file begins with the length of its header (8 bytes) and the header, JSON.
function safetensors(file) {
  const handle = fs.openSync(file, "r");
  try {
    const length = Buffer.alloc(8);
    fs.readSync(handle, length);
    const header = Buffer.alloc(Number(length.readBigUInt64LE()));
    fs.readSync(handle, header, 0, header.length, 8);
    const { __metadata__: _, ...tensors } = JSON.parse(header.toString("utf8"));
    return Object.entries(tensors).map(([name, { data_offsets: [begin, end] }]) => {
      return { name, bytes: end - begin };
    });
  } finally {
    fs.closeSync(handle);
  }
}

export function checkpointBytesPerToken(folder, config) {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  return sum(files.flatMap((name) => safetensors(path.join(folder, name))), config);
}
