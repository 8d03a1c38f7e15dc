// A recorded trace as a file that chrome://tracing and ui.perfetto.dev open.
#pragma once

#include <string>

#include "base/result.h"
#include "kernels/trace.h"

namespace fathom::measure {

// Events that a profile keeps: a few hundred steps of a model of 43 layers, 40 MB in memory.
inline constexpr int64_t kProfileEvents = 500'000;

// "Trace Event Format", one complete event for each span on one line of time, outer ones first,
// with bytes, operations and rates as arguments.
std::string ChromeTraceJson(const kernels::Trace& trace);
// The same into a file.
Result<void> WriteChromeTrace(const kernels::Trace& trace, const std::string& path);

}  // namespace fathom::measure
