// fathom verify: runs recorded cases, or operator tables, and says how far off the results are. The
// comparing is room verify; here are the options and the printing.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "model/weights.h"
#include "verify/verify.h"

namespace fathom::cli {
namespace {

struct VerifyOptions {
  ModelOptions model;  // dir, path, threads, load and chunk_tokens of it
  std::string cases;
  std::string ops;
  std::string only;
  bool is_json = false;
};

Result<verify::Report> RunVerify(const VerifyOptions& options) {
  FATHOM_TRY(const kernels::Path path, options.model.ChosenPath());
  const verify::Options run{.path = path,
                            .threads = options.model.threads,
                            .chunk = options.model.chunk_tokens,
                            .only = options.only};
  const auto print = [&](const verify::CaseReport& report) {
    if (options.is_json) return;
    fmt::print("{}\n", verify::FormatLine(report));
    std::fflush(stdout);
  };
  if (!options.ops.empty()) return verify::VerifyOps(options.ops, run, print);
  FATHOM_TRY(const model::LoadedModel loaded,
             model::LoadedModel::Load(options.model.dir, options.model.load_options()));
  const std::string cases =
      options.cases.empty() ? options.model.dir + "/cases.json" : options.cases;
  return verify::VerifyModel(loaded, cases, run, print);
}

int Verify(const VerifyOptions& options) {
  const Result<verify::Report> report = RunVerify(options);
  if (!report.ok()) {
    fmt::print(stderr, "fathom verify: {}\n", report.error().message);
    return 2;
  }
  if (options.is_json) {
    fmt::print("{}\n", WriteJson(verify::ToJson(report.value())));
  } else {
    fmt::print("{}\n", verify::FormatSummary(report.value()));
  }
  return report.value().passes() ? 0 : 1;
}

}  // namespace

void RegisterVerify(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "verify", "Compare the forward pass or single operators with recorded results");
  // Shared with the callback, which lives as long as the command.
  auto options = std::make_shared<VerifyOptions>();
  CLI::Option* model =
      command->add_option("-m,--model", options->model.dir, "Model folder of the cases");
  command
      ->add_option("--cases", options->cases, "Recorded cases (default: cases.json of the model)")
      ->needs(model);
  CLI::Option* ops = command->add_option(
      "--ops", options->ops, "Operator tables: ops.json, with ops.safetensors beside it");
  ops->excludes(model);
  command->add_option("--only", options->only, "Only the case or operator of this name");
  options->model.AddPath(*command);
  options->model.AddThreads(*command);
  options->model.AddLoad(*command);
  command->add_option("--chunk", options->model.chunk_tokens, "Prompt tokens per pass")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options->is_json, "One JSON object instead of the lines");
  command->footer(
      "Exit status: 0 all pass, 1 some fail, 2 something could not be read.\n"
      "Example: fathom verify -m testdata/golden/bf16-tiny\n"
      "Example: fathom verify --ops testdata/golden/ops/ops.json --path reference");
  command->callback([options, command, &exit_code] {
    if (options->ops.empty() && options->model.dir.empty())
      throw CLI::RequiredError(command->get_name() + ": -m or --ops");
    exit_code = Verify(*options);
  });
}

}  // namespace fathom::cli
