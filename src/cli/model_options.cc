#include "cli/model_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "cli/default_model.h"

namespace fathom::cli {
namespace {

// "reading weights 43 % (65 of 150 GB)", from the second second on, and gone when all is read or
// given up.
class LoadLine {
 public:
  ~LoadLine() { Clear(); }

  void Show(int64_t done, int64_t total) {
    if (done == total) return Clear();
    if (Clock::now() - start_ < std::chrono::seconds(1)) return;
    const double giga_bytes = static_cast<double>(total) / 1e9;
    fmt::print(stderr, "\r\x1b[Kreading weights {} % ({:.{}f} of {:.{}f} GB)", done * 100 / total,
               static_cast<double>(done) / 1e9, giga_bytes < 10 ? 1 : 0, giga_bytes,
               giga_bytes < 10 ? 1 : 0);
    is_shown_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Clear() {
    if (is_shown_) fmt::print(stderr, "\r\x1b[K");
    is_shown_ = false;
  }

  const Clock::time_point start_ = Clock::now();
  bool is_shown_ = false;
};

}  // namespace

void ModelOptions::AddTo(CLI::App& command) {
  AddModel(command);
  AddThreads(command);
  AddPin(command);
  AddLoad(command);
  command.add_option("--chunk", chunk_tokens, "Prompt tokens per pass")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--context", context_tokens,
                  "Tokens of prompt and answer together (default: max_position_embeddings of the "
                  "model)")
      ->check(CLI::PositiveNumber);
  AddPath(command);
  AddNumerics(command);
}

void ModelOptions::AddModel(CLI::App& command) {
  command.add_option("-m,--model", dir, "Model folder (default: the bundled model)");
}

void ModelOptions::AddThreads(CLI::App& command) {
  command
      .add_option("--threads", threads, "Threads to compute with (default: one per physical core)")
      ->check(CLI::Range(1, 4096));
}

void ModelOptions::AddPin(CLI::App& command) {
  command
      .add_option("--pin", pin,
                  "Keep each thread on one core (auto: when there is one thread for every core)")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
}

void ModelOptions::AddLoad(CLI::App& command) {
  command
      .add_option("--load", load,
                  "How the weights come into memory. map: the files are mapped, and what the "
                  "system's file cache lacks is read first. copy: copied into large pages. lock: "
                  "a copy that is never paged out")
      ->check(CLI::IsMember({"map", "copy", "lock"}))
      ->capture_default_str();
}

void ModelOptions::AddPath(CLI::App& command) {
  command
      .add_option(
          "--path", path,
          "Kernels to compute with (auto: what FATHOM_ISA names, else the fastest). All give the "
          "same results, bit for bit, but for amx, which adds in another order and agrees with "
          "tile-reference")
      ->check(
          CLI::IsMember({"auto", "reference", "avx2", "avx512", "neon", "amx", "tile-reference"}))
      ->capture_default_str();
}

void ModelOptions::AddNumerics(CLI::App& command) {
  command
      .add_option("--numerics", numerics,
                  "official: rounded where the reference rounds. pure: not rounded at all. fast: "
                  "official, but with bytes in front of FP4 weights; other words now and then, "
                  "and less time (docs/numerics.md)")
      ->check(CLI::IsMember({"official", "pure", "fast"}))
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
  if (!chosen)
    return Error{source + name + ": expected reference, avx2, avx512, neon, amx or tile-reference"};
  if (!kernels::IsAvailable(*chosen)) return Error{source + name + ": this machine cannot run it"};
  return *chosen;
}

numerics::Mode ModelOptions::mode() const {
  return numerics::ParseMode(numerics).value_or(numerics::Mode::kOfficial);
}

Pinning ModelOptions::pinning() const {
  if (pin == "auto") return Pinning::kAuto;
  return pin == "on" ? Pinning::kOn : Pinning::kOff;
}

model::LoadOptions ModelOptions::load_options() const {
  model::LoadOptions options{.mode = load == "copy"   ? model::LoadMode::kCopy
                                     : load == "lock" ? model::LoadMode::kLock
                                                      : model::LoadMode::kMap};
  if (::isatty(STDERR_FILENO) != 0) {
    // Shared by the copies of the function, as std::function asks for.
    options.progress = [line = std::make_shared<LoadLine>()](int64_t done, int64_t total) {
      line->Show(done, total);
    };
  }
  return options;
}

Result<engine::SessionOptions> ModelOptions::Session() const {
  FATHOM_TRY(const kernels::Path chosen, ChosenPath());
  return engine::SessionOptions{.threads = threads,
                                .pinning = pinning(),
                                .load = load_options(),
                                .chunk_tokens = chunk_tokens,
                                .path = chosen,
                                .mode = mode(),
                                .capacity_tokens = context_tokens,
                                .trace = trace};
}

}  // namespace fathom::cli
