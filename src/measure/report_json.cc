// The same as JSON.
#include <string>
#include <utility>

#include "measure/cost.h"
#include "measure/projection.h"
#include "measure/report.h"

namespace fathom::measure {
namespace {

// For one pass.
Json CostJson(const Cost& cost, double passes) {
  return Json::Object{{"ms", cost.seconds / passes * 1e3},
                      {"weight_gb", Giga(cost.work.weight_bytes) / passes},
                      {"state_gb", Giga(cost.work.state_bytes) / passes},
                      {"gflop", Giga(cost.work.operations) / passes},
                      {"gb_s", Giga(cost.bytes_s())},
                      {"gflops", Giga(cost.flops())}};
}

// Shares of the whole, then what a layer of each kind costs.
void SetCosts(const PassCost& cost, const model::Config& config, Json& json) {
  const double passes = static_cast<double>(cost.passes);
  Json::Array operations;
  for (const OperationCost& operation : cost.operations) {
    if (operation.calls == 0) continue;
    Json row = CostJson(operation.cost, passes);
    row.Set("name", operation.name);
    row.Set("calls", static_cast<double>(operation.calls) / passes);
    row.Set("share", operation.cost.seconds / cost.whole.seconds);
    operations.push_back(std::move(row));
  }
  json.Set("operations", std::move(operations));
  Json kinds = Json::Object{};
  for (int i = 0; i < kKinds; ++i) {
    const model::LayerKind kind = static_cast<model::LayerKind>(i);
    const int64_t layers = CountLayers(config, kind);
    if (layers == 0) continue;
    Json one = CostJson(cost.kinds[static_cast<size_t>(i)], passes * static_cast<double>(layers));
    one.Set("layers", layers);
    kinds.Set(model::Name(kind), std::move(one));
  }
  json.Set("per_layer", std::move(kinds));
  json.Set("output_head", CostJson(cost.head, passes));
}

Json DecodeJson(const DecodePoint& point, const Report& report, const model::Config& config) {
  const double passes = static_cast<double>(point.cost.passes);
  const double tokens = static_cast<double>(point.batch);
  Json json = Json::Object{
      {"context", point.context},
      {"batch", point.batch},
      {"threads", report.threads},
      {"steps", point.steps},
      {"step_ms", point.step_seconds * 1e3},
      {"tok_s", point.tokens_s},
      {"gb_s", Giga(point.reading.rate)},
      {"read_gb_s", Giga(point.meanwhile.read_bytes_s)},
      {"fraction_of_bandwidth", point.reading.fraction},
      {"gb_per_step", Giga(point.cost.whole.work.bytes()) / passes},
      {"gb_per_token", Giga(point.cost.whole.work.bytes()) / passes / tokens},
      {"gflops", Giga(point.computing.rate)},
      {"peak_bf16_gflops", Giga(point.meanwhile.bf16_flops)},
      {"fraction_of_peak", point.computing.fraction},
      {"ceiling_tok_s", point.ceiling_tokens_s},
      {"fraction_of_ceiling", point.fraction_of_ceiling},
      {"expert_overlap", point.expert_overlap},
      {"layers", Json::Object{{"gb_s", Giga(point.layers_reading.rate)},
                              {"fraction_of_bandwidth", point.layers_reading.fraction}}}};
  SetCosts(point.cost, config, json);
  return json;
}

Json PrefillJson(const PrefillPoint& point, const Report& report, const model::Config& config) {
  Json::Array chunks;
  int64_t context = 0;
  for (const PrefillChunk& chunk : point.chunks) {
    context = chunk.position + chunk.tokens;
    chunks.push_back(Json::Object{{"position", chunk.position},
                                  {"tokens", chunk.tokens},
                                  {"tok_s", static_cast<double>(chunk.tokens) / chunk.seconds}});
  }
  Json json =
      Json::Object{{"context", context},
                   {"batch", 1},
                   {"threads", report.threads},
                   {"chunk", point.chunk},
                   {"tok_s", point.tokens_s},
                   {"gflops", Giga(point.computing.rate)},
                   {"peak_bf16_gflops", Giga(point.meanwhile.bf16_flops)},
                   {"fraction_of_peak", point.computing.fraction},
                   {"layers", Json::Object{{"gflops", Giga(point.layers_computing.rate)},
                                           {"fraction_of_peak", point.layers_computing.fraction}}},
                   {"chunks", std::move(chunks)}};
  SetCosts(point.cost, config, json);
  return json;
}

Json ProjectionJson(const Projection& projection) {
  Json::Array lines;
  for (const ProjectionLine& line : projection.lines)
    lines.push_back(Json::Object{{"what", line.what},
                                 {"count", line.count},
                                 {"scale", line.scale},
                                 {"ms_of_one", line.seconds_of_one * 1e3},
                                 {"gb_of_one", Giga(line.bytes_of_one)},
                                 {"ms", line.seconds() * 1e3}});
  return Json::Object{{"model", projection.model},
                      {"context", projection.context},
                      {"batch", 1},
                      {"step_ms", projection.step_seconds * 1e3},
                      {"tok_s", projection.tokens_s()},
                      {"gb_per_token", Giga(projection.bytes)},
                      {"lines", std::move(lines)}};
}

}  // namespace

Json ToJson(const Report& report, const model::Config& config) {
  Json::Array decode, prefill, projections, notes;
  for (const DecodePoint& point : report.decode)
    decode.push_back(DecodeJson(point, report, config));
  for (const PrefillPoint& point : report.prefill)
    prefill.push_back(PrefillJson(point, report, config));
  if (const auto full = FullModelOf(config)) {
    for (const DecodePoint& point : report.decode)
      if (const auto projection = Project(*full, config, point))
        projections.push_back(ProjectionJson(*projection));
  }
  for (const std::string& note : report.notes) notes.push_back(note);
  Json json =
      Json::Object{{"machine", Json::Object{{"read_gb_s", Giga(report.machine.read_bytes_s)},
                                            {"peak_bf16_gflops", Giga(report.machine.bf16_flops)},
                                            {"peak_f32_gflops", Giga(report.machine.f32_flops)},
                                            {"path", std::string(kernels::Name(report.path))}}},
                   {"threads", report.threads},
                   {"model", Json::Object{{"layers", config.num_hidden_layers},
                                          {"experts", config.n_routed_experts},
                                          {"experts_per_token", config.num_experts_per_tok},
                                          {"vocabulary", config.vocab_size}}},
                   {"decode", std::move(decode)},
                   {"prefill", std::move(prefill)},
                   {"projection", std::move(projections)},
                   {"notes", std::move(notes)},
                   {"complete", report.is_complete}};
  json.Set("numerics", std::string(numerics::Name(report.mode)));
  if (report.divergence)
    json.Set("divergence", Json::Object{{"tokens", report.divergence->tokens},
                                        {"mean_kl", report.divergence->mean_kl},
                                        {"max_kl", report.divergence->max_kl},
                                        {"same_top", report.divergence->same_top}});
  return json;
}

}  // namespace fathom::measure
