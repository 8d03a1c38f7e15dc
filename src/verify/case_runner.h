// Inside of the room: one recorded case against one model.
#pragma once

#include <vector>

#include "verify/cases.h"
#include "verify/recorded.h"
#include "verify/report.h"
#include "verify/runner.h"
#include "verify/verify.h"

namespace fathom::verify {

// Level 1 of all cases: the rows of the recorded sequence, without any rounding.
struct PureRows {
  std::vector<TokenId> ids;
  FloatTable logits;                   // row i stands at positions[i]
  std::vector<int64_t> positions;      //
  FloatTable mtp;                      // empty when it was not recorded
  std::vector<int64_t> mtp_positions;  //
};

struct CaseContext {
  Runner& runner;
  const CaseFile& file;
  const Options& options;
  const PureRows* pure = nullptr;  // null: not recorded
};

// From the case that recorded them, or an error.
Result<PureRows> LoadPureRows(const CaseSpec& spec, const model::Config& config);
bool HasPureRows(const CaseSpec& spec);

// Checks of a prefill, decode or greedy case.
Result<std::vector<Check>> CheckLogits(const CaseSpec& spec, const CaseContext& context);
Result<std::vector<Check>> CheckGreedy(const CaseSpec& spec, const CaseContext& context);
// Level 2 (trace.cc).
Result<std::vector<Check>> CheckTrace(const CaseSpec& spec, const CaseContext& context);

}  // namespace fathom::verify
