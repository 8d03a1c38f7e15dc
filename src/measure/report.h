// A benchmark's report as a table for people and as JSON for tools. Units in both: GB are 10^9
// bytes.
#pragma once

#include <string>

#include "base/json.h"
#include "measure/bench.h"
#include "model/config.h"

namespace fathom::measure {

// Several lines, each ending with a newline.
std::string FormatReport(const Report& report, const model::Config& config);

// {"machine": {...}, "threads": .., "decode": [...], "prefill": [...], "projection": [...], ...}
Json ToJson(const Report& report, const model::Config& config);

}  // namespace fathom::measure
