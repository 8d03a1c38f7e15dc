// fathom bench: how fast a checkpoint runs here, beside what the machine allows. The measuring is
// room measure; here are the options, the progress line and the printing.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "measure/bench.h"
#include "measure/chrome_trace.h"
#include "measure/report.h"
#include "model/weights.h"

namespace fathom::cli {
namespace {

struct BenchCommand {
  ModelOptions model;  // but for chunk and context
  measure::BenchOptions bench;
  bool is_json = false;
  std::string profile;
};

Result<measure::Report> Measure(BenchCommand& command, const model::LoadedModel& loaded,
                                kernels::Trace& trace) {
  measure::BenchOptions& bench = command.bench;
  FATHOM_TRY(bench.path, command.model.ChosenPath());
  bench.mode = command.model.mode();
  bench.threads = command.model.threads;
  bench.pinning = command.model.pinning();
  const int64_t longest = loaded.config().max_position_embeddings;
  if (bench.contexts.empty()) bench.contexts = {std::min<int64_t>(4096, longest)};
  bench.prompt_tokens = std::min(bench.prompt_tokens, longest);
  bench.chunk_tokens = std::min(bench.chunk_tokens, longest);
  if (!command.profile.empty()) {
    trace.Record(measure::kProfileEvents);
    bench.trace = &trace;
  }
  const bool is_terminal = ::isatty(STDERR_FILENO) != 0;
  if (is_terminal)
    bench.progress = [](std::string_view what) { fmt::print(stderr, "\r\x1b[K{}", what); };
  auto report = measure::RunBench(loaded, bench);
  if (is_terminal) fmt::print(stderr, "\r\x1b[K");
  return report;
}

Result<int> Bench(BenchCommand& command) {
  FATHOM_TRY(const std::string dir, command.model.Directory());
  FATHOM_TRY(const model::LoadedModel loaded,
             model::LoadedModel::Load(dir, command.model.load_options()));
  const Interrupt interrupt(Interrupt::Signals::kOnce);
  command.bench.cancel = &interrupt.flag();
  kernels::Trace trace;
  FATHOM_TRY(const measure::Report report, Measure(command, loaded, trace));
  if (command.is_json) {
    Json json = measure::ToJson(report, loaded.config());
    json.Set("dir", dir);
    fmt::print("{}\n", WriteJson(json));
  } else {
    fmt::print("bench    {}, numerics {}\n{}", dir, command.model.numerics,
               measure::FormatReport(report, loaded.config()));
  }
  std::fflush(stdout);
  if (!command.profile.empty()) FATHOM_TRY_VOID(measure::WriteChromeTrace(trace, command.profile));
  if (!report.is_complete) Interrupt::EndProgram();
  return 0;
}

void AddMeasurement(CLI::App& command, BenchCommand& options) {
  measure::BenchOptions& bench = options.bench;
  bench.contexts.clear();  // the default depends on the model
  command
      .add_option("--context", bench.contexts,
                  "Tokens in a sequence while it decodes, one or several numbers; the state is "
                  "filled with random entries (default: 4096, or what the model has)")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command
      .add_option("--batch", bench.batches, "Sequences decoded together, one or several numbers")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--prompt", bench.prompt_tokens, "Tokens of the prompt; 0: measure none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--chunk", bench.chunk_tokens, "Prompt tokens per pass")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--steps", bench.steps, "Decode steps measured for each length and batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--seconds", bench.seconds,
                  "Time after which one of these measurements ends with what it has")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--seed", bench.seed, "Of the random tokens and entries")
      ->capture_default_str();
}

}  // namespace

void RegisterBench(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure what this machine allows and what a model reaches of it: decoding and prompts. A "
      "step is the forward pass of random tokens, without sampling. Ctrl-C ends with what is "
      "measured so far.");
  auto options = std::make_shared<BenchCommand>();  // shared with the callback below
  ModelOptions& model = options->model;
  model.AddModel(*command);
  AddMeasurement(*command, *options);
  model.AddThreads(*command);
  model.AddPin(*command);
  model.AddLoad(*command);
  model.AddPath(*command);
  model.AddNumerics(*command);
  command->add_flag("--json", options->is_json, "One JSON object instead of the table");
  command->add_option("--profile", options->profile,
                      "Write a Chrome trace of the passes to this file (chrome://tracing)");
  command->footer(
      "What each number means is docs/benchmarks.md.\n"
      "Examples:\n"
      "  fathom synth --preset flash --layers 4 --experts 16 --mtp off -o slice\n"
      "  fathom bench -m slice --context 4096,1048576 --batch 1,16 --json > slice.json");
  command->callback([options, &exit_code] { exit_code = ExitStatus("bench", Bench(*options)); });
}

}  // namespace fathom::cli
