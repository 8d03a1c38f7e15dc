// The flags that every command which runs a model shares: which model, and how it is computed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
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
  kernels::Trace* trace = nullptr;  // no flag: told what every pass costs

  // -m, --threads, --chunk, --context, --path and --numerics. The object must outlive the parse.
  void AddTo(CLI::App& command);

  // The folder of the model, the bundled one if none is named.
  Result<std::string> Directory() const;
  // The path asked for, if this machine runs it.
  Result<kernels::Path> ChosenPath() const;
  numerics::Mode mode() const;
  Result<engine::SessionOptions> Session() const;
};

}  // namespace fathom::cli
