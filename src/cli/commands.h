// The program's commands, one file each. A Register function declares the command's options on
// `app` and, when the command is chosen, runs it from the CLI11 callback and leaves its exit status
// in `exit_code`. Results go to stdout, progress and complaints to stderr; 0 is success, 1 a failed
// job or comparison, 2 unusable arguments or input.
#pragma once

#include <CLI/CLI.hpp>

namespace fathom::cli {

void RegisterRun(CLI::App& app, int& exit_code);
void RegisterChat(CLI::App& app, int& exit_code);
void RegisterServe(CLI::App& app, int& exit_code);
void RegisterTokenize(CLI::App& app, int& exit_code);
void RegisterEncode(CLI::App& app, int& exit_code);
void RegisterParse(CLI::App& app, int& exit_code);
void RegisterInspect(CLI::App& app, int& exit_code);
void RegisterSynth(CLI::App& app, int& exit_code);
void RegisterBench(CLI::App& app, int& exit_code);
void RegisterCache(CLI::App& app, int& exit_code);
void RegisterVerify(CLI::App& app, int& exit_code);

}  // namespace fathom::cli
