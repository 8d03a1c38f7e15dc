#include "cli/model_options.h"

#include "cli/default_model.h"

namespace fathom::cli {

void ModelOptions::AddTo(CLI::App& command) {
  command.add_option("-m,--model", dir, "Model folder (default: the bundled model)");
  command
      .add_option("--threads", threads, "Threads to compute with (default: one per physical core)")
      ->check(CLI::Range(1, 4096));
  command.add_option("--chunk", chunk_tokens, "Prompt tokens per pass")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--context", context_tokens,
                  "Tokens of prompt and answer together (default: max_position_embeddings of the "
                  "model)")
      ->check(CLI::PositiveNumber);
  command
      .add_option(
          "--path", path,
          "Kernels to compute with; all give the same results, bit for bit (auto: what FATHOM_ISA "
          "names, else the fastest)")
      ->check(CLI::IsMember({"auto", "reference", "avx2", "avx512", "neon"}))
      ->capture_default_str();
  command
      .add_option("--numerics", numerics,
                  "official: rounded where the reference rounds. pure: not rounded at all")
      ->check(CLI::IsMember({"official", "pure"}))
      ->capture_default_str();
}

Result<std::string> ModelOptions::Directory() const {
  if (!dir.empty()) return dir;
  return DefaultModelDir();
}

Result<kernels::Path> ModelOptions::ChosenPath() const {
  const auto named = kernels::PathFromEnvironment();
  if (path == "auto" && !named) return kernels::BestPath();
  const std::string name = path == "auto" ? std::string(*named) : path;
  const auto chosen = kernels::ParsePath(name);
  const char* source = path == "auto" ? "FATHOM_ISA=" : "--path ";
  if (!chosen) return Error{source + name + ": expected reference, avx2, avx512 or neon"};
  if (!kernels::IsAvailable(*chosen)) return Error{source + name + ": this machine cannot run it"};
  return *chosen;
}

numerics::Mode ModelOptions::mode() const {
  return numerics == "pure" ? numerics::Mode::kPure : numerics::Mode::kOfficial;
}

Result<engine::SessionOptions> ModelOptions::Session() const {
  FATHOM_TRY(const kernels::Path chosen, ChosenPath());
  return engine::SessionOptions{.threads = threads,
                                .chunk_tokens = chunk_tokens,
                                .path = chosen,
                                .mode = mode(),
                                .capacity_tokens = context_tokens,
                                .trace = trace};
}

}  // namespace fathom::cli
