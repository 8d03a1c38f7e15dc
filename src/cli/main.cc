// fathom: the program. Declares the commands and hands over to the chosen one.
#include <CLI/CLI.hpp>

#include "cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"fathom runs DeepSeek-V4 models from their original checkpoints."};
  app.require_subcommand(1);
  app.set_version_flag("--version", "fathom 0.1.0");
  app.footer("Example: fathom run -p \"What is 23+45?\" --think max");
  int exit_code = 0;
  fathom::cli::RegisterRun(app, exit_code);
  fathom::cli::RegisterChat(app, exit_code);
  fathom::cli::RegisterServe(app, exit_code);
  fathom::cli::RegisterTokenize(app, exit_code);
  fathom::cli::RegisterEncode(app, exit_code);
  fathom::cli::RegisterParse(app, exit_code);
  fathom::cli::RegisterInspect(app, exit_code);
  fathom::cli::RegisterSynth(app, exit_code);
  fathom::cli::RegisterBench(app, exit_code);
  fathom::cli::RegisterCache(app, exit_code);
  fathom::cli::RegisterVerify(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // --help and --version end here as well
  }
  return exit_code;
}
