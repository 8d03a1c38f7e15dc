#include "measure/projection.h"

#include <fmt/format.h>

#include <utility>

namespace fathom::measure {
namespace {

// What decides the cost of a layer for one token. The number of routed experts does not: a token
// reads those it chose.
bool HasLayersOf(const model::Config& a, const model::Config& b) {
  const auto shape = [](const model::Config& c) {
    return std::vector<int64_t>{
        c.hidden_size,           c.num_attention_heads, c.head_dim,
        c.qk_rope_head_dim,      c.q_lora_rank,         c.o_groups,
        c.o_lora_rank,           c.sliding_window,      c.index_n_heads,
        c.index_head_dim,        c.index_topk,          c.num_experts_per_tok,
        c.moe_intermediate_size, c.n_shared_experts,    c.hc_mult};
  };
  return shape(a) == shape(b);
}

ProjectionLine LineOf(std::string what, int64_t count, const Cost& cost, double parts) {
  return {std::move(what),
          count,
          1.0,
          cost.seconds / parts,
          static_cast<double>(cost.work.bytes()) / parts,
          static_cast<double>(cost.work.operations) / parts};
}

}  // namespace

std::optional<FullModel> FullModelOf(const model::Config& config) {
  if (HasLayersOf(config, model::FlashPreset()))
    return FullModel{"DeepSeek-V4-Flash", model::FlashPreset()};
  if (HasLayersOf(config, model::ProPreset()))
    return FullModel{"DeepSeek-V4-Pro", model::ProPreset()};
  return std::nullopt;
}

std::optional<Projection> Project(const FullModel& full, const model::Config& slice,
                                  const DecodePoint& point) {
  if (point.batch != 1 || point.cost.passes == 0) return std::nullopt;
  Projection projection{full.name, point.context, {}};
  const double passes = static_cast<double>(point.cost.passes);
  for (int i = 0; i < kKinds; ++i) {
    const model::LayerKind kind = static_cast<model::LayerKind>(i);
    const int64_t wanted = CountLayers(full.config, kind), here = CountLayers(slice, kind);
    if (wanted == 0) continue;
    if (here == 0) return std::nullopt;
    projection.lines.push_back(LineOf(fmt::format("{} layer", model::Name(kind)), wanted,
                                      point.cost.kinds[static_cast<size_t>(i)],
                                      passes * static_cast<double>(here)));
  }
  projection.lines.push_back(LineOf("output head", 1, point.cost.head, passes));
  projection.lines.back().scale =
      static_cast<double>(full.config.vocab_size) / static_cast<double>(slice.vocab_size);
  projection.lines.push_back(LineOf("embedding and the rest", 1, point.cost.rest, passes));
  for (const ProjectionLine& line : projection.lines) {
    projection.step_seconds += line.seconds();
    projection.bytes += line.bytes();
  }
  return projection;
}

}  // namespace fathom::measure
