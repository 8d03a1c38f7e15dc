// Writes GGUF version 3 files: keys, a list of tensors, and random weights made while writing, so
// that a file of any size costs a few megabytes of memory. Knows no model; deepseek4.mjs does.
//
// The layout, all little-endian: magic, version, counts, keys, tensor descriptions with offsets
// into the data, padding to 32 bytes, then each tensor padded to 32 bytes.
import fs from "node:fs";

// ggml's numbers for the formats used here, with block length and bytes per block.
export const formats = {
  F32: { id: 0, block: 1, bytes: 4 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
  I32: { id: 26, block: 1, bytes: 4 },
  BF16: { id: 30, block: 1, bytes: 2 },
  MXFP4: { id: 39, block: 32, bytes: 17 },
};

const alignment = 32;
const padded = (size) => Math.ceil(size / alignment) * alignment;

export function tensorBytes({ dims, format }) {
  const { block, bytes } = formats[format];
  const elements = dims.reduce((a, b) => a * b, 1);
  if (dims[0] % block !== 0) throw new Error(`rows of ${dims[0]}: not blocks of ${block}`);
  return (elements / block) * bytes;
}

// Bytes that grow as they are written.
class Writer {
  parts = [];
  size = 0;

  raw(buffer) {
    this.parts.push(buffer);
    this.size += buffer.length;
  }
  number(bytes, write) {
    const buffer = Buffer.alloc(bytes);
    write(buffer);
    this.raw(buffer);
  }
  u32(value) {
    this.number(4, (b) => b.writeUInt32LE(value));
  }
  u64(value) {
    this.number(8, (b) => b.writeBigUInt64LE(BigInt(value)));
  }
  string(text) {
    const bytes = Buffer.from(text, "utf8");
    this.u64(bytes.length);
    this.raw(bytes);
  }
}

// GGUF's number and writer for each type of value.
const values = {
  u32: [4, (w, v) => w.u32(v)],
  i32: [5, (w, v) => w.number(4, (b) => b.writeInt32LE(v))],
  f32: [6, (w, v) => w.number(4, (b) => b.writeFloatLE(v))],
  bool: [7, (w, v) => w.number(1, (b) => b.writeUInt8(v ? 1 : 0))],
  string: [8, (w, v) => w.string(v)],
};
const arrayType = 9;

// A key is [name, type, value]; an array value makes it an array of that type.
function writeKey(writer, [name, type, value]) {
  const [id, write] = values[type];
  writer.string(name);
  if (!Array.isArray(value)) {
    writer.u32(id);
    write(writer, value);
    return;
  }
  writer.u32(arrayType);
  writer.u32(id);
  writer.u64(value.length);
  for (const item of value) write(writer, item);
}

function header(keys, tensors) {
  const writer = new Writer();
  writer.raw(Buffer.from("GGUF"));
  writer.u32(3);
  writer.u64(tensors.length);
  writer.u64(keys.length);
  for (const key of keys) writeKey(writer, key);
  let offset = 0;
  for (const tensor of tensors) {
    writer.string(tensor.name);
    writer.u32(tensor.dims.length);
    for (const dim of tensor.dims) writer.u64(dim);
    writer.u32(formats[tensor.format].id);
    writer.u64(offset);
    offset += padded(tensorBytes(tensor));
  }
  writer.raw(Buffer.alloc(padded(writer.size) - writer.size));
  return Buffer.concat(writer.parts);
}

// xorshift32: the same file every time.
function random(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

// How one block of each format is filled. `scale` is the standard deviation wanted of its elements,
// up to a small factor: enough for activations to stay finite.
const fill = {
  F32: (b, at, next, scale) => b.writeFloatLE((next() / 2 ** 31 - 1) * scale, at),
  BF16: (b, at, next, scale) => {
    const wide = Buffer.alloc(4);
    wide.writeFloatLE((next() / 2 ** 31 - 1) * scale);
    wide.copy(b, at, 2, 4);
  },
  // Expert ids below `scale`: each differs from the five before it, as those of one token must.
  I32: (b, at, next, scale) => {
    const before = at === 0 ? 0 : b.readUInt32LE(at - 4);
    b.writeUInt32LE((before + 1 + (next() % Math.floor((scale - 1) / 5))) % scale, at);
  },
  // A half-precision scale, then 32 signed bytes.
  Q8_0: (b, at, next, scale) => {
    b.writeUInt16LE(halfOf(scale / 64), at);
    for (let i = 2; i < 34; i += 4) b.writeUInt32LE(next(), at + i);
  },
  // A power-of-two scale (bias 127), then 32 E2M1 nibbles, whose values reach 6.
  MXFP4: (b, at, next, scale) => {
    b.writeUInt8(127 + Math.round(Math.log2(scale / 3)) - (next() & 1), at);
    for (let i = 1; i < 17; i += 4) b.writeUInt32LE(next(), at + i);
  },
};

// A normal half-precision number, truncated.
function halfOf(value) {
  const exponent = Math.floor(Math.log2(value));
  const mantissa = Math.floor((value / 2 ** exponent - 1) * 1024);
  return ((exponent + 15) << 10) | mantissa;
}

// About a megabyte of blocks, a prime number of them: a tensor repeats it, never in step with rows.
const poolBlocks = 65521;

function pool({ format, scale, constant }, next) {
  const { bytes } = formats[format];
  const buffer = Buffer.alloc(poolBlocks * bytes);
  for (let i = 0; i < poolBlocks; ++i) {
    if (constant !== undefined) buffer.writeFloatLE(constant, i * bytes);
    else fill[format](buffer, i * bytes, next, scale);
  }
  return buffer;
}

function writeAll(file, buffer) {
  for (let done = 0; done < buffer.length; ) done += fs.writeSync(file, buffer, done);
}

// tensors: {name, dims (fastest first), format, and scale (random) or constant (F32 only)}.
export function writeGguf(path, keys, tensors, seed = 1) {
  const next = random(seed);
  const pools = new Map();
  const file = fs.openSync(path, "w");
  try {
    writeAll(file, header(keys, tensors));
    for (const tensor of tensors) {
      const kind = `${tensor.format} ${tensor.scale} ${tensor.constant}`;
      if (!pools.has(kind)) pools.set(kind, pool(tensor, next));
      const source = pools.get(kind);
      const size = tensorBytes(tensor);
      for (let left = size; left > 0; left -= source.length) {
        writeAll(file, left < source.length ? source.subarray(0, left) : source);
      }
      writeAll(file, Buffer.alloc(padded(size) - size));
    }
  } finally {
    fs.closeSync(file);
  }
}
