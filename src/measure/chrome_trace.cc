#include "measure/chrome_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

#include "base/file.h"

namespace fathom::measure {
namespace {

using Event = kernels::Trace::Event;

void AppendEvent(const Event& event, std::string& out) {
  const auto to = std::back_inserter(out);
  const bool is_layer = event.operation == kernels::Operation::kLayer;
  const std::string name =
      is_layer ? fmt::format("layer {}", event.layer) : kernels::Name(event.operation);
  // Microseconds with the nanoseconds behind the point: spans must not overlap by rounding.
  fmt::format_to(to,
                 ",\n{{\"name\":\"{}\",\"cat\":\"fathom\",\"ph\":\"X\",\"pid\":1,\"tid\":1,"
                 "\"ts\":{}.{:03},\"dur\":{}.{:03},\"args\":{{\"layer\":{}",
                 name, event.begin_ns / 1000, event.begin_ns % 1000, event.whole_ns / 1000,
                 event.whole_ns % 1000, event.layer);
  const double ns = static_cast<double>(std::max<int64_t>(event.whole_ns, 1));
  if (event.work.bytes() > 0)
    fmt::format_to(to, ",\"weight_bytes\":{},\"state_bytes\":{},\"gb_s\":{:.3f}",
                   event.work.weight_bytes, event.work.state_bytes,
                   static_cast<double>(event.work.bytes()) / ns);
  if (event.work.operations > 0)
    fmt::format_to(to, ",\"operations\":{},\"gflops\":{:.3f}", event.work.operations,
                   static_cast<double>(event.work.operations) / ns);
  out += "}}";
}

}  // namespace

std::string ChromeTraceJson(const kernels::Trace& trace) {
  const std::span<const Event> events = trace.events();
  std::vector<size_t> order(events.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Outer spans first: they begin no later, last no shorter, and end after what is inside.
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (events[a].begin_ns != events[b].begin_ns) return events[a].begin_ns < events[b].begin_ns;
    if (events[a].whole_ns != events[b].whole_ns) return events[a].whole_ns > events[b].whole_ns;
    return a > b;
  });
  std::string out = fmt::format(
      "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"dropped_events\":{}}},\"traceEvents\":[\n"
      "{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{{\"name\":\"fathom\"}}}}",
      trace.dropped_events());
  for (const size_t i : order) AppendEvent(events[i], out);
  out += "\n]}\n";
  return out;
}

Result<void> WriteChromeTrace(const kernels::Trace& trace, const std::string& path) {
  return WriteFile(path, ChromeTraceJson(trace));
}

}  // namespace fathom::measure
