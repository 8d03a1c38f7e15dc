// The table.
#include "measure/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "measure/cost.h"
#include "measure/projection.h"

namespace fathom::measure {
namespace {

// Operations below this share of the time stand in one line together.
constexpr double kSmallShare = 0.005;

double Percent(double fraction) { return fraction * 100; }

std::string Context(int64_t tokens) {
  return tokens == 1 ? "1 token" : fmt::format("{} tokens", tokens);
}

// One row of the table of operations, for one pass.
void AppendOperation(const OperationCost& operation, const PassCost& cost,
                     const MachineLimits& limits, std::string& out) {
  const double passes = static_cast<double>(cost.passes);
  const Cost& c = operation.cost;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "    {:26} {:5.1f} % {:10.3f}", operation.name,
                 Percent(c.seconds / cost.whole.seconds), c.seconds / passes * 1e3);
  if (c.work.bytes() > 0) {
    fmt::format_to(to, " {:9.4f} {:7.2f}", Giga(c.work.bytes()) / passes, Giga(c.bytes_s()));
  } else {
    fmt::format_to(to, " {:9} {:7}", "", "");
  }
  if (c.work.bytes() > 0 && limits.read_bytes_s > 0) {
    fmt::format_to(to, " {:5.1f} %", Percent(c.bytes_s() / limits.read_bytes_s));
  } else {
    fmt::format_to(to, " {:7}", "");
  }
  if (c.work.operations > 0)
    fmt::format_to(to, " {:9.1f} {:5.1f} %", Giga(c.flops()),
                   Percent(c.flops() / limits.bf16_flops));
  while (out.ends_with(' ')) out.pop_back();
  out += '\n';
}

void AppendOperations(const PassCost& cost, const MachineLimits& limits, std::string& out) {
  out += fmt::format("    {:26} {:>7} {:>10} {:>9} {:>7} {:>7} {:>9} {:>7}\n", "operation", "share",
                     "ms", "GB", "GB/s", "of read", "GFLOP/s", "of peak");
  std::vector<OperationCost> rows = cost.operations;
  std::sort(rows.begin(), rows.end(), [](const OperationCost& a, const OperationCost& b) {
    if (a.cost.seconds != b.cost.seconds) return a.cost.seconds > b.cost.seconds;
    return a.name < b.name;
  });
  OperationCost small{"all others", 0, {}};
  for (const OperationCost& row : rows) {
    if (row.calls == 0) continue;
    if (row.cost.seconds < kSmallShare * cost.whole.seconds && row.name != "output head") {
      small.calls += row.calls;
      small.cost += row.cost;
    } else {
      AppendOperation(row, cost, limits, out);
    }
  }
  if (small.calls > 0) AppendOperation(small, cost, limits, out);
}

void AppendDecode(const DecodePoint& point, std::string& out) {
  const double passes = static_cast<double>(point.cost.passes);
  const auto to = std::back_inserter(out);
  fmt::format_to(to,
                 "\ndecode, context {}, batch {}: {:.2f} tokens/s, {:.2f} ms a step (median "
                 "of {})\n",
                 point.context, point.batch, point.tokens_s, point.step_seconds * 1e3, point.steps);
  const kernels::Work& work = point.cost.whole.work;
  fmt::format_to(to, "  reads {:.4f} GB a step ({:.4f} of it state), {:.4f} GB a token\n",
                 Giga(work.bytes()) / passes, Giga(work.state_bytes) / passes,
                 Giga(work.bytes()) / passes / static_cast<double>(point.batch));
  fmt::format_to(to, "  the whole step       {:8.2f} GB/s {:6.1f} % of read bandwidth\n",
                 Giga(point.reading.rate), Percent(point.reading.fraction));
  fmt::format_to(to, "  without output head  {:8.2f} GB/s {:6.1f} % of read bandwidth\n",
                 Giga(point.layers_reading.rate), Percent(point.layers_reading.fraction));
  fmt::format_to(to, "  computes             {:8.1f} GFLOP/s {:5.1f} % of the BF16 peak\n",
                 Giga(point.computing.rate), Percent(point.computing.fraction));
  fmt::format_to(to, "  ceiling              {:8.2f} tokens/s; reached {:.1f} %\n",
                 point.ceiling_tokens_s, Percent(point.fraction_of_ceiling));
  if (point.batch > 1)
    fmt::format_to(to,
                   "  experts              {:.1f} networks read for {:.1f} chosen in a step: "
                   "overlap {:.3f}\n",
                   point.cost.experts_read / passes, point.cost.experts_chosen / passes,
                   point.expert_overlap);
  AppendOperations(point.cost, point.meanwhile, out);
}

void AppendPrefill(const PrefillPoint& point, std::string& out) {
  const auto to = std::back_inserter(out);
  fmt::format_to(
      to, "\nprompt of {} in chunks of {}: {:.2f} tokens/s\n",
      Context(point.chunks.empty() ? 0 : point.chunks.back().position + point.chunks.back().tokens),
      point.chunk, point.tokens_s);
  fmt::format_to(to, "  every chunk          {:8.1f} GFLOP/s {:5.1f} % of the BF16 peak\n",
                 Giga(point.computing.rate), Percent(point.computing.fraction));
  fmt::format_to(to, "  without output head  {:8.1f} GFLOP/s {:5.1f} % of the BF16 peak\n",
                 Giga(point.layers_computing.rate), Percent(point.layers_computing.fraction));
  for (const PrefillChunk& chunk : point.chunks)
    fmt::format_to(to, "  from token {:8}: {:8.3f} ms a token\n", chunk.position,
                   chunk.seconds * 1e3 / static_cast<double>(chunk.tokens));
  AppendOperations(point.cost, point.meanwhile, out);
}

void AppendDivergence(const Divergence& divergence, std::string& out) {
  const auto to = std::back_inserter(out);
  fmt::format_to(
      to,
      "\ndivergence from official numerics, over {} tokens that the model wrote: KL {:.3g} "
      "nats (mean), {:.3g} (largest); the most likely token is the same for {:.1f} %\n",
      divergence.tokens, divergence.mean_kl, divergence.max_kl, Percent(divergence.same_top));
}

void AppendProjection(const Projection& projection, double read_bytes_s, std::string& out) {
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "\n{} from this slice, context {}, batch 1\n", projection.model,
                 projection.context);
  for (const ProjectionLine& line : projection.lines) {
    const std::string scale = line.scale == 1 ? "" : fmt::format(" x {:.4f}", line.scale);
    fmt::format_to(to, "  {:22} {:3}{} x {:8.3f} ms = {:9.3f} ms  ({:.4f} GB)\n", line.what,
                   line.count, scale, line.seconds_of_one * 1e3, line.seconds() * 1e3,
                   Giga(line.bytes()));
  }
  fmt::format_to(to,
                 "  sum {:.3f} ms a token, {:.2f} GB: {:.2f} tokens/s, {:.2f} GB/s, {:.1f} % "
                 "of read bandwidth\n",
                 projection.step_seconds * 1e3, Giga(projection.bytes), projection.tokens_s(),
                 Giga(projection.bytes) * projection.tokens_s(),
                 Percent(projection.bytes * projection.tokens_s() / read_bytes_s));
}

// The sums, and how the later lengths compare with the first.
void AppendProjections(const Report& report, const model::Config& config, std::string& out) {
  const auto full = FullModelOf(config);
  if (!full) return;
  std::optional<Projection> first;
  for (const DecodePoint& point : report.decode) {
    const auto projection = Project(*full, config, point);
    if (!projection) continue;
    AppendProjection(*projection, point.meanwhile.read_bytes_s, out);
    if (!first) {
      first = projection;
    } else {
      out += fmt::format("  {:.2f} x the time of a token at context {}\n",
                         projection->step_seconds / first->step_seconds, first->context);
    }
  }
  if (!first && !report.decode.empty())
    out += fmt::format(
        "\nno sum for {}: it takes batch 1 and a slice with layers of every kind (4 layers)\n",
        full->name);
}

}  // namespace

std::string FormatReport(const Report& report, const model::Config& config) {
  std::string layers;
  for (int i = 0; i < kKinds; ++i) {
    const model::LayerKind kind = static_cast<model::LayerKind>(i);
    if (CountLayers(config, kind) > 0)
      layers += fmt::format("{}{} {}", layers.empty() ? "" : ", ", CountLayers(config, kind),
                            model::Name(kind));
  }
  std::string out = fmt::format(
      "model    {} layers ({}), {} experts, {} of them a token, vocabulary {}\n"
      "machine  {} threads, path {}: reads {:.2f} GB/s; BF16 peak {:.1f} GFLOP/s; F32 peak {:.1f} "
      "GFLOP/s\n",
      config.num_hidden_layers, layers, config.n_routed_experts, config.num_experts_per_tok,
      config.vocab_size, report.threads, kernels::Name(report.path),
      Giga(report.machine.read_bytes_s), Giga(report.machine.bf16_flops),
      Giga(report.machine.f32_flops));
  for (const DecodePoint& point : report.decode) AppendDecode(point, out);
  for (const PrefillPoint& point : report.prefill) AppendPrefill(point, out);
  if (report.divergence) AppendDivergence(*report.divergence, out);
  AppendProjections(report, config, out);
  if (!report.notes.empty() || !report.is_complete) out += '\n';
  for (const std::string& note : report.notes) out += note + '\n';
  if (!report.is_complete) out += "interrupted: this is what was measured until then\n";
  return out;
}

}  // namespace fathom::measure
