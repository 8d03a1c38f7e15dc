// The flags that every command which runs a model shares: which model, and how it is computed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/session.h"
#include "kernels/context.h"
#include "numerics/mode.h"

namespace fathom::cli {

struct ModelOptions {
  std::string dir;  // empty: the bundled model
  int threads = 0;
  int64_t chunk_tokens = engine::kDefaultChunkTokens;
  int64_t context_tokens = 0;
  std::string path = "auto";
  std::string numerics = "official";
  std::string pin = "auto";
  std::string load = "map";
  kernels::Trace* trace = nullptr;  // no flag: told what every pass costs

  // All of them: the rest below, --chunk and --context. The object must outlive the parse.
  void AddTo(CLI::App& command);
  // One by one, for commands where others mean something else.
  void AddModel(CLI::App& command);  // -m
  void AddThreads(CLI::App& command);
  void AddPin(CLI::App& command);
  void AddLoad(CLI::App& command);
  void AddPath(CLI::App& command);
  void AddNumerics(CLI::App& command);

  // The folder of the model, the bundled one if none is named.
  Result<std::string> Directory() const;
  // The path asked for, if this machine runs it.
  Result<kernels::Path> ChosenPath() const;
  numerics::Mode mode() const;
  Pinning pinning() const;
  // With a progress line on standard error, where that is a terminal and reading takes its time.
  model::LoadOptions load_options() const;
  Result<engine::SessionOptions> Session() const;
};

}  // namespace fathom::cli
