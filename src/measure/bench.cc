#include "measure/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/file.h"
#include "base/topology.h"
#include "measure/mapped_pages.h"
#include "measure/runner.h"
#include "model/sequence.h"
#include "model/sizes.h"

namespace fathom::measure {
namespace {

constexpr int64_t kTokensMax = int64_t{1} << 24;
constexpr int64_t kBatchMax = 1024;

Result<void> CheckRange(std::string_view name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return Error{fmt::format("{}: expected {} to {}, found {}", name, low, high, value)};
}

Result<void> CheckOptions(const BenchOptions& options, const model::Config& config) {
  const int64_t longest = std::min(config.max_position_embeddings, kTokensMax);
  for (const int64_t context : options.contexts)
    FATHOM_TRY_VOID(CheckRange("context", context, 1, longest));
  for (const int64_t batch : options.batches)
    FATHOM_TRY_VOID(CheckRange("batch", batch, 1, kBatchMax));
  FATHOM_TRY_VOID(CheckRange("prompt", options.prompt_tokens, 0, longest));
  FATHOM_TRY_VOID(CheckRange("chunk", options.chunk_tokens, 1, longest));
  FATHOM_TRY_VOID(CheckRange("steps", options.steps, 1, longest));
  if (!(options.seconds > 0))
    return Error{fmt::format("seconds: expected more than 0, found {}", options.seconds)};
  return {};
}

// Sequences beside a model that is mapped and wants to stay in memory.
bool Fits(const model::Config& config, int64_t context, int64_t batch) {
  const double bytes = static_cast<double>(model::Sequence::BytesFor(config, context + 1,
                                                                     numerics::Mode::kOfficial)) *
                       static_cast<double>(batch);
  return bytes < 0.6 * static_cast<double>(MemoryBytes());
}

void MeasureAll(Runner& runner, const BenchOptions& options, const model::Config& config,
                Report& report) {
  for (const int64_t context : options.contexts) {
    for (const int64_t batch : options.batches) {
      if (runner.is_cancelled()) return;
      if (!Fits(config, context, batch)) {
        report.notes.push_back(
            fmt::format("context {}, batch {}: left out, the sequences take {:.1f} GB of memory",
                        context, batch,
                        static_cast<double>(
                            model::Sequence::BytesFor(config, context, numerics::Mode::kOfficial)) *
                            1e-9 * static_cast<double>(batch)));
        continue;
      }
      DecodePoint point = runner.Decode(context, batch);
      if (point.steps > 0) report.decode.push_back(std::move(point));
    }
  }
  if (options.prompt_tokens == 0 || runner.is_cancelled()) return;
  PrefillPoint point = runner.Prefill(options.prompt_tokens);
  if (point.tokens > 0) report.prefill.push_back(std::move(point));
}

}  // namespace

Result<Report> RunBench(const model::LoadedModel& loaded, const BenchOptions& options) {
  FATHOM_TRY_VOID(CheckOptions(options, loaded.config()));
  Report report;
  Runner runner(loaded, options);
  if (!runner.WarmUp())
    report.notes.push_back("the checkpoint is larger than memory: it is read from its file");
  MeasureAll(runner, options, loaded.config(), report);
  if (const Divergence divergence = runner.Diverge(); divergence.tokens > 0)
    report.divergence = divergence;
  report.mode = options.mode;
  // Now that all of it has been read.
  if (const auto smaps = ReadFile("/proc/self/smaps"); smaps.ok()) {
    std::string note = NoteOnMappedPages(MappedPagesOf(smaps.value(), ".safetensors"));
    if (!note.empty()) report.notes.push_back(std::move(note));
  }
  report.machine = runner.Machine();
  report.threads = runner.threads();
  report.path = options.path;
  report.is_complete = !runner.is_cancelled();
  return report;
}

}  // namespace fathom::measure
