// The keys and tensors that llama.cpp reads for the architecture "deepseek4", from the config.json
// of a checkpoint, so that both programs get one shape. Weights are random. Formats are those of
// the checkpoint where llama.cpp has them: FP4 experts as MXFP4, BF16 and F32 as they are; FP8,
// which it lacks, becomes Q8_0, its own format of nearly the same size.
//
//   node deepseek4.mjs CONFIG.json OUT.gguf
import fs from "node:fs";

import { writeGguf } from "./gguf.mjs";

const name = "deepseek4";
// ggml's number for sqrt(softplus(x)) as the score of an expert.
const sqrtSoftplus = 4;

function architectureKeys(c) {
  const yarn = c.rope_scaling;
  const perLayer = (value) => Array(c.num_hidden_layers).fill(value);
  return [
    ["block_count", "u32", c.num_hidden_layers],
    ["context_length", "u32", c.max_position_embeddings],
    ["embedding_length", "u32", c.hidden_size],
    ["feed_forward_length", "u32", c.moe_intermediate_size],
    ["vocab_size", "u32", c.vocab_size],
    ["attention.head_count", "u32", c.num_attention_heads],
    ["attention.head_count_kv", "u32", c.num_key_value_heads],
    ["attention.key_length", "u32", c.head_dim],
    ["attention.value_length", "u32", c.head_dim],
    ["attention.layer_norm_rms_epsilon", "f32", c.rms_norm_eps],
    ["attention.q_lora_rank", "u32", c.q_lora_rank],
    ["attention.kv_lora_rank", "u32", c.head_dim],
    ["attention.sliding_window", "u32", c.sliding_window],
    ["attention.output_group_count", "u32", c.o_groups],
    ["attention.output_lora_rank", "u32", c.o_lora_rank],
    ["attention.compress_ratios", "u32", c.compress_ratios],
    ["attention.compress_rope_freq_base", "f32", c.compress_rope_theta],
    ["attention.indexer.head_count", "u32", c.index_n_heads],
    ["attention.indexer.key_length", "u32", c.index_head_dim],
    ["attention.indexer.top_k", "u32", c.index_topk],
    ["rope.dimension_count", "u32", c.qk_rope_head_dim],
    ["rope.freq_base", "f32", c.rope_theta],
    ["rope.freq_base_swa", "f32", c.rope_theta],
    ["rope.scaling.type", "string", yarn.type],
    ["rope.scaling.factor", "f32", yarn.factor],
    ["rope.scaling.original_context_length", "u32", yarn.original_max_position_embeddings],
    ["rope.scaling.yarn_beta_fast", "f32", yarn.beta_fast],
    ["rope.scaling.yarn_beta_slow", "f32", yarn.beta_slow],
    ["expert_count", "u32", c.n_routed_experts],
    ["expert_used_count", "u32", c.num_experts_per_tok],
    ["expert_shared_count", "u32", c.n_shared_experts],
    ["expert_feed_forward_length", "u32", c.moe_intermediate_size],
    ["expert_weights_scale", "f32", c.routed_scaling_factor],
    ["expert_weights_norm", "bool", c.norm_topk_prob],
    ["expert_gating_func", "u32", sqrtSoftplus],
    ["hash_layer_count", "u32", c.num_hash_layers],
    ["swiglu_clamp_exp", "f32", perLayer(c.swiglu_limit)],
    ["hyper_connection.count", "u32", c.hc_mult],
    ["hyper_connection.sinkhorn_iterations", "u32", c.hc_sinkhorn_iters],
    ["hyper_connection.epsilon", "f32", c.hc_eps],
  ].map(([key, type, value]) => [`${name}.${key}`, type, value]);
}

// Just enough of a tokenizer to be loaded: prompts are given as token ids.
function tokenizerKeys(c) {
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const tokens = ["<bos>", "<eos>", ...letters];
  while (tokens.length < c.vocab_size) tokens.push(`t${tokens.length}`);
  const control = 3;
  const normal = 1;
  return [
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "deepseek-v3"],
    ["tokenizer.ggml.tokens", "string", tokens],
    ["tokenizer.ggml.token_type", "i32", tokens.map((_, i) => (i < 2 ? control : normal))],
    ["tokenizer.ggml.merges", "string", ["a b"]],
    ["tokenizer.ggml.bos_token_id", "u32", 0],
    ["tokenizer.ggml.eos_token_id", "u32", 1],
  ];
}

const deviation = 0.02;

// Tensors under a prefix, by format; a matrix is [inputs, outputs].
class TensorList {
  constructor(prefix, tensors = []) {
    this.prefix = prefix;
    this.tensors = tensors;
  }
  add(tensor, dims, rest) {
    this.tensors.push({ name: this.prefix + tensor, dims, ...rest });
  }
  ones(tensor, dims) {
    this.add(tensor, dims, { format: "F32", constant: 1 });
  }
  f32(tensor, dims) {
    this.add(tensor, dims, { format: "F32", scale: deviation });
  }
  bf16(tensor, dims) {
    this.add(tensor, dims, { format: "BF16", scale: deviation });
  }
  fp8(tensor, dims) {
    this.add(tensor, dims, { format: "Q8_0", scale: deviation });
  }
  fp4(tensor, dims) {
    this.add(tensor, dims, { format: "MXFP4", scale: deviation });
  }
}

function addCompressor(list, c, prefix, dim, ratio) {
  const width = ratio === 4 ? 2 * dim : dim;
  list.bf16(`${prefix}_kv.weight`, [c.hidden_size, width]);
  list.bf16(`${prefix}_gate.weight`, [c.hidden_size, width]);
  list.f32(`${prefix}_ape.weight`, [width, ratio]);
  list.ones(`${prefix}_norm.weight`, [dim]);
}

function addAttention(list, c, ratio) {
  const width = c.num_attention_heads * c.head_dim;
  list.ones("attn_norm.weight", [c.hidden_size]);
  list.f32("attn_sinks.weight", [c.num_attention_heads]);
  list.fp8("attn_q_a.weight", [c.hidden_size, c.q_lora_rank]);
  list.ones("attn_q_a_norm.weight", [c.q_lora_rank]);
  list.fp8("attn_q_b.weight", [c.q_lora_rank, width]);
  list.fp8("attn_kv.weight", [c.hidden_size, c.head_dim]);
  list.ones("attn_kv_a_norm.weight", [c.head_dim]);
  list.fp8("attn_output_a.weight", [width / c.o_groups, c.o_lora_rank * c.o_groups]);
  list.fp8("attn_output_b.weight", [c.o_groups * c.o_lora_rank, c.hidden_size]);
  if (ratio === 0) return;
  addCompressor(list, c, "attn_compressor", c.head_dim, ratio);
  if (ratio !== 4) return;
  list.bf16("indexer.proj.weight", [c.hidden_size, c.index_n_heads]);
  list.fp8("indexer.attn_q_b.weight", [c.q_lora_rank, c.index_n_heads * c.index_head_dim]);
  addCompressor(list, c, "indexer_compressor", c.index_head_dim, ratio);
}

function addExperts(list, c, isHashed) {
  const [hidden, wide, experts] = [c.hidden_size, c.moe_intermediate_size, c.n_routed_experts];
  list.ones("ffn_norm.weight", [hidden]);
  list.bf16("ffn_gate_inp.weight", [hidden, experts]);
  if (isHashed) {
    const dims = [c.num_experts_per_tok, c.vocab_size];
    list.add("ffn_gate_tid2eid.weight", dims, { format: "I32", scale: experts });
  } else {
    list.f32("exp_probs_b.bias", [experts]);
  }
  list.fp4("ffn_gate_exps.weight", [hidden, wide, experts]);
  list.fp4("ffn_up_exps.weight", [hidden, wide, experts]);
  list.fp4("ffn_down_exps.weight", [wide, hidden, experts]);
  const shared = wide * c.n_shared_experts;
  list.fp8("ffn_gate_shexp.weight", [hidden, shared]);
  list.fp8("ffn_up_shexp.weight", [hidden, shared]);
  list.fp8("ffn_down_shexp.weight", [shared, hidden]);
}

function addHyperConnections(list, c) {
  const mix = (2 + c.hc_mult) * c.hc_mult;
  for (const part of ["hc_attn", "hc_ffn"]) {
    list.f32(`${part}_fn.weight`, [c.hc_mult * c.hidden_size, mix]);
    list.f32(`${part}_base.weight`, [mix]);
    list.ones(`${part}_scale.weight`, [3]);
  }
}

export function tensorsOf(c) {
  const top = new TensorList("");
  top.bf16("token_embd.weight", [c.hidden_size, c.vocab_size]);
  top.ones("output_norm.weight", [c.hidden_size]);
  top.bf16("output.weight", [c.hidden_size, c.vocab_size]);
  top.f32("output_hc_fn.weight", [c.hc_mult * c.hidden_size, c.hc_mult]);
  top.f32("output_hc_base.weight", [c.hc_mult]);
  top.ones("output_hc_scale.weight", [1]);
  for (let layer = 0; layer < c.num_hidden_layers; ++layer) {
    const list = new TensorList(`blk.${layer}.`, top.tensors);
    addHyperConnections(list, c);
    addAttention(list, c, c.compress_ratios[layer]);
    addExperts(list, c, layer < c.num_hash_layers);
  }
  return top.tensors;
}

export function keysOf(c) {
  return [
    ["general.architecture", "string", name],
    ["general.name", "string", "random weights, DeepSeek-V4 shapes"],
    ...architectureKeys(c),
    ...tokenizerKeys(c),
  ];
}

if (import.meta.filename === process.argv[1]) {
  const [config, out] = process.argv.slice(2);
  const shape = JSON.parse(fs.readFileSync(config, "utf8"));
  writeGguf(out, keysOf(shape), tensorsOf(shape));
}
