// fathom inspect: what a checkpoint or a preset is, how large, and what a token costs beside
// DeepSeek-V3.2. The counting is model/sizes.h; here it is laid out as a page or as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/topology.h"
#include "cli/commands.h"
#include "model/config.h"
#include "model/sequence.h"
#include "model/sizes.h"
#include "model/weights.h"

namespace fathom::cli {
namespace {

struct InspectOptions {
  std::string what;
  int64_t context = 0;  // 0: the model's longest
  bool is_json = false;
};

struct Subject {
  std::string name;
  model::Config config;
  model::TensorSizes sizes;
  model::LinearFormats formats;
  model::SpeculativeHead head = model::SpeculativeHead::kNone;
  int64_t context = 0;
};

Subject FromPreset(std::string name, model::Config config) {
  Subject subject{std::move(name), std::move(config), {}, {}, {}, 0};
  subject.sizes = model::OfficialSizes(subject.config);
  subject.formats = model::FormatsOf(subject.config);
  subject.head = model::HeadOf(subject.config);
  return subject;
}

Result<Subject> FromDirectory(const std::string& dir) {
  FATHOM_TRY(const model::LoadedModel loaded, model::LoadedModel::Load(dir));
  const model::Weights& weights = loaded.weights();
  Subject subject{dir, loaded.config(), {}, {}, {}, 0};
  subject.sizes = model::SizesOf(loaded.config(), loaded.checkpoint());
  subject.formats = {weights.layers[0].attn.wq_a.format,
                     weights.layers[0].ffn.experts[0].w1.format};
  if (weights.mtp.has_value()) subject.head = model::SpeculativeHead::kMtp;
  if (weights.dspark.has_value()) subject.head = model::SpeculativeHead::kDspark;
  return subject;
}

Result<Subject> FindSubject(const InspectOptions& options) {
  Subject subject;
  if (options.what == "flash") {
    subject = FromPreset("DeepSeek-V4-Flash (preset)", model::FlashPreset());
  } else if (options.what == "pro") {
    subject = FromPreset("DeepSeek-V4-Pro (preset)", model::ProPreset());
  } else if (options.what == "nano") {
    subject = FromPreset("nano (preset)", model::NanoPreset());
  } else {
    FATHOM_TRY(subject, FromDirectory(options.what));
  }
  subject.context = options.context > 0 ? options.context : subject.config.max_position_embeddings;
  return subject;
}

const char* Name(model::SpeculativeHead head) {
  switch (head) {
    case model::SpeculativeHead::kNone:
      return "none";
    case model::SpeculativeHead::kMtp:
      return "MTP";
    case model::SpeculativeHead::kDspark:
      return "DSpark";
  }
  return "?";
}

const char* Name(tensor::Format format) {
  switch (format) {
    case tensor::Format::kF32:
      return "F32";
    case tensor::Format::kBF16:
      return "BF16";
    case tensor::Format::kFp8:
      return "FP8";
    case tensor::Format::kFp4:
      return "FP4";
  }
  return "?";
}

const char* RoutingOf(const model::Config& config, int64_t layer) {
  return layer < config.num_hidden_layers && layer < config.num_hash_layers ? "hash" : "scored";
}

double Ratio(double a, double b) { return b == 0 ? 0 : a / b; }

// What this machine's memory holds: the weights, and beside them the state of one sequence.
struct Fit {
  int64_t memory_bytes = 0;
  int64_t state_bytes = 0;  // at the context asked for
  bool fits = false;
  int64_t context_max = 0;  // longest context that fits; 0 when the weights alone do not
};

Fit FitInMemory(const Subject& s) {
  Fit fit;
  fit.memory_bytes = MemoryBytes();
  fit.state_bytes = model::Sequence::BytesFor(s.config, s.context, numerics::Mode::kOfficial);
  const int64_t room = fit.memory_bytes - s.sizes.bytes;
  fit.fits = fit.state_bytes <= room;
  // The longest context in [0, max] whose state is at most `room`; the state grows with the
  // context.
  int64_t low = 0;
  int64_t high = s.config.max_position_embeddings;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (model::Sequence::BytesFor(s.config, middle, numerics::Mode::kOfficial) <= room) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  fit.context_max = low;
  return fit;
}

Json PartsJson(const Subject& s, int64_t model::PartSize::*field) {
  Json json = Json::Object{};
  for (int p = 0; p < model::kParts; ++p) {
    const model::Part part = static_cast<model::Part>(p);
    json.Set(model::Name(part), s.sizes.part(part).*field);
  }
  return json;
}

Json LayersJson(const Subject& s) {
  Json::Array layers;
  for (int64_t i = 0; i < s.config.num_hidden_layers; ++i) {
    layers.push_back(Json::Object{{"index", i},
                                  {"attention", model::Name(s.config.kind(i))},
                                  {"ratio", s.config.ratio(i)},
                                  {"routing", RoutingOf(s.config, i)},
                                  {"parameters", s.sizes.layer_parameters[static_cast<size_t>(i)]},
                                  {"bytes", s.sizes.layer_bytes[static_cast<size_t>(i)]}});
  }
  return layers;
}

Json FlopsJson(const model::Flops& flops, const model::Flops& v32) {
  return Json::Object{{"per_token", flops.Fp8Equivalents()},
                      {"unit", "FP8 equivalents: BF16 and attention 2, F32 4, FP4 index 0.5"},
                      {"sum", flops.Sum()},
                      {"by_class", Json::Object{{"fp8", flops.fp8},
                                                {"fp4_weight", flops.fp4_weight},
                                                {"bf16", flops.bf16},
                                                {"fp32", flops.fp32},
                                                {"attention", flops.attention},
                                                {"index_fp4", flops.index_fp4}}},
                      {"v32_per_token", v32.Fp8Equivalents()},
                      {"ratio_to_v32", Ratio(flops.Fp8Equivalents(), v32.Fp8Equivalents())}};
}

Json ToJson(const Subject& s) {
  const model::ParameterCount parameters = model::CountParameters(s.config, s.sizes);
  const model::KvBytes kv = model::KvBytesAt(s.config, s.context);
  const model::KvBytes v32 = model::V32KvBytesAt(s.context);
  Json by_format = Json::Object{};
  for (const auto& [dtype, bytes] : s.sizes.bytes_by_dtype) by_format.Set(Name(dtype), bytes);
  const Fit fit = FitInMemory(s);
  return Json::Object{
      {"name", s.name},
      {"context", s.context},
      {"speculative_head", Name(s.head)},
      {"formats",
       Json::Object{{"dense", Name(s.formats.dense)}, {"experts", Name(s.formats.experts)}}},
      {"parameters", Json::Object{{"total", parameters.total},
                                  {"active", parameters.active},
                                  {"mtp", parameters.mtp},
                                  {"by_part", PartsJson(s, &model::PartSize::parameters)}}},
      {"bytes", Json::Object{{"total", s.sizes.bytes},
                             {"tensors", s.sizes.tensors},
                             {"by_format", std::move(by_format)},
                             {"by_part", PartsJson(s, &model::PartSize::bytes)}}},
      {"kv", Json::Object{{"bytes_per_token", kv.per_token},
                          {"bytes", kv.total},
                          {"window_bytes", kv.window},
                          {"v32_bytes_per_token", v32.per_token},
                          {"v32_bytes", v32.total},
                          {"ratio_to_v32",
                           Ratio(static_cast<double>(kv.total), static_cast<double>(v32.total))}}},
      {"flops", FlopsJson(model::FlopsPerToken(s.config, s.formats, s.context),
                          model::V32FlopsPerToken(s.context))},
      {"memory", Json::Object{{"machine_bytes", fit.memory_bytes},
                              {"weight_bytes", s.sizes.bytes},
                              {"state_bytes", fit.state_bytes},
                              {"fits", fit.fits},
                              {"context_max", fit.context_max}}},
      {"layers", LayersJson(s)}};
}

// 1048576 -> "1,048,576".
std::string Grouped(int64_t n) {
  std::string text = std::to_string(n);
  for (int64_t i = std::ssize(text) - 3; i > 0; i -= 3) text.insert(static_cast<size_t>(i), ",");
  return text;
}

// "284.332 B", "13.27 M": parameters.
std::string Count(int64_t n) {
  const double value = static_cast<double>(n);
  if (n >= 1'000'000'000) return fmt::format("{:.3f} B", value / 1e9);
  if (n >= 1'000'000) return fmt::format("{:.3f} M", value / 1e6);
  return Grouped(n);
}

// Decimal units, as the published numbers.
std::string Bytes(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.3f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.3f} MB", bytes / 1e6);
  if (bytes >= 1e5) return fmt::format("{:.3f} kB", bytes / 1e3);
  return fmt::format("{:.2f} B", bytes);
}
std::string Bytes(int64_t bytes) {
  return bytes < 100000 ? fmt::format("{} B", bytes) : Bytes(static_cast<double>(bytes));
}

// Ascending indices as runs of step 1 ("0-2") or 2 ("3, 5 .. 41").
std::string Runs(const std::vector<int64_t>& indices) {
  std::string text;
  for (size_t i = 0; i < indices.size();) {
    size_t end = i + 1;
    const int64_t step = end < indices.size() ? indices[end] - indices[i] : 0;
    while (step > 0 && step <= 2 && end < indices.size() && indices[end] - indices[end - 1] == step)
      ++end;
    // A step of 2 says something only from three entries on.
    if (step == 2 && end - i < 3) end = i + 1;
    if (!text.empty()) text += ", ";
    text += std::to_string(indices[i]);
    if (end - i > 1)
      text += step == 1 ? fmt::format("-{}", indices[end - 1])
                        : fmt::format(", {} .. {}", indices[i + 1], indices[end - 1]);
    i = end;
  }
  return text;
}

void PrintTitle(const Subject& s) {
  const model::Config& c = s.config;
  fmt::print("{}\n", s.name);
  fmt::print("  {} layers, hidden {}, {} heads of {}, vocabulary {}, up to {} tokens\n",
             c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.head_dim, c.vocab_size,
             Grouped(c.max_position_embeddings));
  fmt::print("  {} routed experts of {}, {} per token, {} shared\n", c.n_routed_experts,
             c.moe_intermediate_size, c.num_experts_per_tok, c.n_shared_experts);
  fmt::print("  dense linears {}, routed experts {}\n", Name(s.formats.dense),
             Name(s.formats.experts));
  switch (s.head) {
    case model::SpeculativeHead::kNone:
      fmt::print("  no speculative head\n");
      break;
    case model::SpeculativeHead::kMtp:
      fmt::print("  MTP head, {} block (first release)\n", c.num_nextn_predict_layers);
      break;
    case model::SpeculativeHead::kDspark:
      fmt::print("  DSpark head, {} stages, {} draft tokens (0731 or 0813); not used yet\n",
                 c.dspark->stages, c.dspark->block_size);
      break;
  }
  if (!c.chat_revision.empty()) fmt::print("  chat revision {}\n", c.chat_revision);
  if (c.has_vision) fmt::print("  describes a vision tower, which is not supported\n");
}

void PrintLayers(const Subject& s) {
  std::map<std::string, std::vector<int64_t>> groups;
  for (int64_t i = 0; i < s.config.num_hidden_layers; ++i) {
    const int64_t ratio = s.config.ratio(i);
    const std::string attention =
        ratio == 0 ? "window" : fmt::format("{} 1:{}", model::Name(s.config.kind(i)), ratio);
    groups[fmt::format("{:<10} {}", attention, RoutingOf(s.config, i))].push_back(i);
  }
  std::vector<std::pair<std::string, std::vector<int64_t>>> rows(groups.begin(), groups.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second[0] < b.second[0]; });
  fmt::print("\nLayers\n");
  for (const auto& [kind, indices] : rows)
    fmt::print("  {:<20}{:>4}: {}\n", kind, indices.size(), Runs(indices));
}

void PrintSizes(const Subject& s) {
  const model::ParameterCount count = model::CountParameters(s.config, s.sizes);
  fmt::print("\nParameters {} total, {} active per token", Count(count.total), Count(count.active));
  if (count.mtp > 0) fmt::print("; {} head apart {}", Name(s.head), Count(count.mtp));
  fmt::print("\n  {:<26}{:>14}{:>16}{:>9}\n", "part", "parameters", "bytes", "share");
  const double total = static_cast<double>(s.sizes.bytes);
  for (int p = 0; p < model::kParts; ++p) {
    const model::Part part = static_cast<model::Part>(p);
    const model::PartSize& size = s.sizes.part(part);
    if (size.bytes == 0) continue;
    fmt::print("  {:<26}{:>14}{:>16}{:>7.2f} %\n", model::Name(part), Count(size.parameters),
               Bytes(size.bytes), 100 * Ratio(static_cast<double>(size.bytes), total));
  }
  fmt::print("  {:<26}{:>14}{:>16}\n", "all", Count(count.total + count.mtp), Bytes(s.sizes.bytes));
  fmt::print("\nBytes by number format, {} tensors\n", Grouped(s.sizes.tensors));
  for (const auto& [dtype, bytes] : s.sizes.bytes_by_dtype) {
    const char* note = dtype == tensor::DType::kI8       ? " (packed FP4)"
                       : dtype == tensor::DType::kF8E8M0 ? " (scales)"
                       : dtype == tensor::DType::kI64    ? " (tid2eid)"
                                                         : "";
    fmt::print("  {:<40}{:>16}{:>7.2f} %\n", std::string(Name(dtype)) + note, Bytes(bytes),
               100 * Ratio(static_cast<double>(bytes), total));
  }
}

void PrintCosts(const Subject& s) {
  const model::KvBytes kv = model::KvBytesAt(s.config, s.context);
  const model::KvBytes v32_kv = model::V32KvBytesAt(s.context);
  const model::Flops flops = model::FlopsPerToken(s.config, s.formats, s.context);
  const model::Flops v32 = model::V32FlopsPerToken(s.context);
  const auto row = [](const std::string& what, const std::string& here, const std::string& there,
                      double ratio) {
    fmt::print("  {:<40}{:>16}{:>16}{:>10.2f} %\n", what, here, there, 100 * ratio);
  };
  const auto giga = [](double n) {
    return n == 0 || n >= 1e9 ? fmt::format("{:.3f} G", n / 1e9) : fmt::format("{:.3f} M", n / 1e6);
  };
  fmt::print("\n{:<42}{:>16}{:>16}{:>12}\n",
             fmt::format("One sequence of {} tokens", Grouped(s.context)), "here", "V3.2", "ratio");
  row("KV cache per further token", Bytes(kv.per_token), Bytes(v32_kv.per_token),
      Ratio(kv.per_token, v32_kv.per_token));
  row("KV cache", Bytes(kv.total), Bytes(v32_kv.total),
      Ratio(static_cast<double>(kv.total), static_cast<double>(v32_kv.total)));
  row("FLOPs to generate a token", giga(flops.Sum()), giga(v32.Sum()),
      Ratio(flops.Sum(), v32.Sum()));
  row("  in FP8 equivalents", giga(flops.Fp8Equivalents()), giga(v32.Fp8Equivalents()),
      Ratio(flops.Fp8Equivalents(), v32.Fp8Equivalents()));
  const auto part = [&](const char* what, double here, double there) {
    fmt::print("    {:<38}{:>16}{:>16}\n", what, giga(here), giga(there));
  };
  part("FP8 linears, counted once", flops.fp8, v32.fp8);
  part("FP4-weight linears, once", flops.fp4_weight, v32.fp4_weight);
  part("BF16 linears, twice", flops.bf16, v32.bf16);
  part("F32 linears, four times", flops.fp32, v32.fp32);
  part("attention, twice", flops.attention, v32.attention);
  part("index scores, half (V3.2: once)", flops.index_fp4, v32.index_fp8);
}

void PrintMemory(const Subject& s) {
  const Fit fit = FitInMemory(s);
  const auto gib = [](int64_t bytes) {
    const double n = static_cast<double>(bytes);
    return n >= 0x1p30 ? fmt::format("{:.2f} GiB", n / 0x1p30)
                       : fmt::format("{:.2f} MiB", n / 0x1p20);
  };
  fmt::print("\nThis machine has {} of memory\n", gib(fit.memory_bytes));
  fmt::print("  weights {}, state of one sequence of {} tokens {}\n", gib(s.sizes.bytes),
             Grouped(s.context), gib(fit.state_bytes));
  if (s.sizes.bytes >= fit.memory_bytes) {
    fmt::print("  the weights do not fit: they would be read from disk again and again\n");
  } else if (fit.fits) {
    fmt::print("  both fit\n");
  } else {
    fmt::print("  the weights fit, with a context of up to {} tokens\n", Grouped(fit.context_max));
  }
}

int Inspect(const InspectOptions& options) {
  const Result<Subject> subject = FindSubject(options);
  if (!subject.ok()) {
    fmt::print(stderr, "fathom inspect: {}\n", subject.error().message);
    return 2;
  }
  if (options.is_json) {
    fmt::print("{}\n", WriteJson(ToJson(subject.value())));
    return 0;
  }
  PrintTitle(subject.value());
  PrintLayers(subject.value());
  PrintSizes(subject.value());
  PrintCosts(subject.value());
  PrintMemory(subject.value());
  return 0;
}

}  // namespace

void RegisterInspect(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("inspect", "Show what a checkpoint is, its sizes and its cost per token");
  // Shared with the callback, which lives as long as the command.
  auto options = std::make_shared<InspectOptions>();
  command
      ->add_option("model", options->what,
                   "Checkpoint folder, or a preset: flash, pro, nano (./flash for a folder)")
      ->required();
  command
      ->add_option("--context", options->context,
                   "Tokens of the sequence whose cache and arithmetic are shown (default: the "
                   "longest the model knows)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_flag("--json", options->is_json, "One JSON object instead of the page");
  command->footer("Example: fathom inspect flash --context 131072");
  command->callback([options, &exit_code] { exit_code = Inspect(*options); });
}

}  // namespace fathom::cli
