// fathom synth: a checkpoint with random weights, of a preset's architecture cut or widened by
// options. The weights are model/synth.h; here are the options, the tokenizer file and the progress
// line.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "model/config.h"
#include "model/synth.h"
#include "tokenizer/synthetic.h"

namespace fathom::cli {
namespace {

// An option that replaces one number of the preset.
struct Override {
  const char* flag;
  int64_t model::Config::*field;
  const char* help;
};

constexpr Override kOverrides[] = {
    {"--hidden", &model::Config::hidden_size, "Hidden size"},
    {"--heads", &model::Config::num_attention_heads, "Query heads"},
    {"--head-dim", &model::Config::head_dim, "Head size, rotary part included"},
    {"--rope-dim", &model::Config::qk_rope_head_dim, "Rotary part of a head"},
    {"--q-rank", &model::Config::q_lora_rank, "Query low rank"},
    {"--o-groups", &model::Config::o_groups, "Output groups"},
    {"--o-rank", &model::Config::o_lora_rank, "Output low rank per group"},
    {"--window", &model::Config::sliding_window, "Sliding window"},
    {"--context", &model::Config::max_position_embeddings, "Longest context"},
    {"--index-heads", &model::Config::index_n_heads, "Indexer heads"},
    {"--index-dim", &model::Config::index_head_dim, "Indexer head size"},
    {"--index-topk", &model::Config::index_topk, "Blocks that the indexer picks"},
    {"--experts", &model::Config::n_routed_experts, "Routed experts"},
    {"--active-experts", &model::Config::num_experts_per_tok, "Routed experts per token"},
    {"--moe-intermediate", &model::Config::moe_intermediate_size, "Width of an expert"},
    {"--hash-layers", &model::Config::num_hash_layers, "First layers that route by token id"},
    {"--vocab", &model::Config::vocab_size, "Vocabulary (at least 259, the synthetic tokenizer's)"},
};

struct SynthOptions {
  std::string preset;
  std::optional<int64_t> layers;
  std::map<std::string, int64_t> overrides;  // by flag
  std::string mtp = "on";
  std::string experts_format;
  std::string dense;
  uint64_t seed = 0;
  std::string out;
  int threads = 0;
  bool force = false;
};

model::Config Preset(const std::string& name) {
  if (name == "flash") return model::FlashPreset();
  if (name == "pro") return model::ProPreset();
  return model::NanoPreset();
}

// The preset with the options applied, and checked as if it had been read from a file.
Result<model::Config> MakeConfig(const SynthOptions& options) {
  model::Config config = Preset(options.preset);
  if (options.layers.has_value()) {
    if (*options.layers < 1 || *options.layers > config.num_hidden_layers)
      return Error{fmt::format("--layers: expected 1 to {}, those of {}, found {}",
                               config.num_hidden_layers, options.preset, *options.layers)};
    config.num_hidden_layers = *options.layers;
    config.num_hash_layers = std::min(config.num_hash_layers, *options.layers);
  }
  if (options.mtp == "off") config.num_nextn_predict_layers = 0;
  config.compress_ratios.resize(static_cast<size_t>(config.num_hidden_layers));
  config.compress_ratios.resize(
      static_cast<size_t>(config.num_hidden_layers + config.num_nextn_predict_layers), 0);
  for (const Override& o : kOverrides) {
    const auto found = options.overrides.find(o.flag);
    if (found != options.overrides.end()) config.*o.field = found->second;
  }
  if (!options.experts_format.empty()) config.expert_dtype = options.experts_format;
  if (!options.dense.empty()) config.has_quantization_config = options.dense == "fp8";
  if (config.vocab_size < tokenizer::kSyntheticVocabMin)
    return Error{fmt::format("--vocab: expected at least {}, found {}",
                             tokenizer::kSyntheticVocabMin, config.vocab_size)};
  return model::ParseConfig(model::WriteConfig(config), "the options' config.json");
}

Result<void> WriteModel(const SynthOptions& options) {
  FATHOM_TRY(const model::Config config, MakeConfig(options));
  FATHOM_TRY_VOID(model::PrepareFolder(options.out, options.force
                                                        ? model::ExistingFolder::kReplace
                                                        : model::ExistingFolder::kRefuse));
  FATHOM_TRY_VOID(WriteFile(options.out + "/tokenizer.json",
                            tokenizer::SyntheticTokenizerJson(config.vocab_size)));
  ThreadPool pool(options.threads);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const bool is_terminal = ::isatty(STDERR_FILENO) != 0;
  const auto show = [&](int64_t done, int64_t total) {
    if (!is_terminal) return;
    fmt::print(stderr, "\r\x1b[K{:.2f} of {:.2f} GB, {:.0f} MB/s", static_cast<double>(done) / 1e9,
               static_cast<double>(total) / 1e9, static_cast<double>(done) / 1e6 / seconds());
    if (done == total) fmt::print(stderr, "\r\x1b[K");
  };
  FATHOM_TRY(const model::SynthSummary summary,
             model::WriteSyntheticCheckpoint(config, options.seed, options.out, pool, show));
  fmt::print(stderr, "{}: {} tensors, {} bytes in {} {}, {:.1f} s ({:.0f} MB/s)\n", options.out,
             summary.tensors, summary.bytes, summary.files, summary.files == 1 ? "file" : "files",
             seconds(), static_cast<double>(summary.bytes) / 1e6 / seconds());
  return {};
}

int Synth(const SynthOptions& options) {
  const Result<void> written = WriteModel(options);
  if (written.ok()) return 0;
  fmt::print(stderr, "fathom synth: {}\n", written.error().message);
  return 2;
}

}  // namespace

void RegisterSynth(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "synth", "Write a checkpoint with random weights, for tests and benchmarks");
  // Shared with the callback, which lives as long as the command.
  auto options = std::make_shared<SynthOptions>();
  command->add_option("--preset", options->preset, "Architecture to start from")
      ->required()
      ->check(CLI::IsMember({"flash", "pro", "nano"}));
  command->add_option("-o,--output", options->out, "Folder to write, new or empty")->required();
  command->add_option("--seed", options->seed, "Same seed, same bytes")->capture_default_str();
  command->add_option("--layers", options->layers, "Only the first N layers of the preset");
  for (const Override& o : kOverrides) {
    command
        ->add_option_function<int64_t>(
            o.flag, [options, &o](int64_t value) { options->overrides[o.flag] = value; }, o.help)
        ->type_name("INT");
  }
  command->add_option("--mtp", options->mtp, "With or without the MTP block")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  command->add_option("--experts-format", options->experts_format, "Format of routed experts")
      ->check(CLI::IsMember({"fp4", "fp8", "bf16"}));
  command->add_option("--dense", options->dense, "Format of the other linears")
      ->check(CLI::IsMember({"fp8", "bf16"}));
  command->add_option("--threads", options->threads, "Threads (0: one per core)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--force", options->force, "Replace the checkpoint in a folder that is in use");
  command->footer(
      "Options left out keep the preset's value.\n"
      "Example: fathom synth --preset flash --layers 4 --experts 16 --seed 1 -o slice");
  command->callback([options, &exit_code] { exit_code = Synth(*options); });
}

}  // namespace fathom::cli
