// The checker of recorded cases: runs each case of a case file through the forward pass that
// generation uses and compares as the recorded data's README says (three levels: pure mathematics,
// layer by layer, official rounding end to end), or each operator table on the kernels of one path.
#pragma once

#include <string>

#include "base/function_ref.h"
#include "base/result.h"
#include "kernels/context.h"
#include "model/weights.h"
#include "verify/report.h"

namespace fathom::verify {

struct Options {
  kernels::Path path = kernels::Path::kReference;
  int threads = 0;      // 0: one per core
  int64_t chunk = 512;  // prompt tokens per pass, at least 1
  std::string only;     // the one case or operator of this name; empty: all
  // Levels to run. A report holds no check of a level that was left out.
  bool level_1 = true, level_2 = true, level_3 = true;
};

// Called with each report as soon as it is there.
using OnCase = FunctionRef<void(const CaseReport&)>;

// A case that cannot be run (a missing or malformed file) is a failed case; a case file that cannot
// be read is an error.
Result<Report> VerifyModel(const model::LoadedModel& loaded, const std::string& cases_path,
                           const Options& options, OnCase on_case);

// The operator tables beside ops.json (same name, .safetensors). A table that no check reads is a
// failed case of its own.
Result<Report> VerifyOps(const std::string& ops_path, const Options& options, OnCase on_case);

}  // namespace fathom::verify
