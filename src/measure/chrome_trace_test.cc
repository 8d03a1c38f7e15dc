#include "measure/chrome_trace.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"

namespace fathom::measure {
namespace {

using kernels::Operation;
using kernels::Trace;
using kernels::TraceSpan;

// "12.345" microseconds as nanoseconds: exact, where a double would round.
int64_t Nanoseconds(const Json& event, std::string_view name) {
  const std::string text = event.Find(name)->number().text;
  const size_t point = text.find('.');
  EXPECT_EQ(text.size() - point, 4u) << text;
  return std::stoll(text.substr(0, point)) * 1000 + std::stoll(text.substr(point + 1));
}

TEST(ChromeTrace, IsJsonWhoseEventsNest) {
  Trace trace;
  trace.Reserve(3);
  trace.Record(100);
  for (int pass = 0; pass < 3; ++pass) {
    const TraceSpan whole(&trace, Operation::kPass);
    for (int64_t layer = 0; layer < 3; ++layer) {
      trace.SetLayer(layer);
      const TraceSpan span(&trace, Operation::kLayer);
      const TraceSpan product(&trace, Operation::kProductFp8,
                              {.weight_bytes = 10, .state_bytes = 3, .operations = 40});
      const TraceSpan inside(&trace, Operation::kRmsNorm);
    }
    trace.SetLayer(Trace::kOutside);
  }
  const auto json = ParseJson(ChromeTraceJson(trace));
  ASSERT_TRUE(json.ok()) << json.error().message;
  const Json::Array& events = json.value().Find("traceEvents")->array();
  ASSERT_EQ(events.size(), 1u + 3 * (1 + 3 * 3));
  EXPECT_EQ(events[0].Find("ph")->string(), "M");
  std::vector<int64_t> open_until;
  int64_t last_begin = 0;
  size_t deepest = 0;
  for (size_t i = 1; i < events.size(); ++i) {
    EXPECT_EQ(events[i].Find("ph")->string(), "X");
    const int64_t begin = Nanoseconds(events[i], "ts"), end = begin + Nanoseconds(events[i], "dur");
    EXPECT_GE(begin, last_begin);
    last_begin = begin;
    while (!open_until.empty() && open_until.back() <= begin && open_until.back() < end)
      open_until.pop_back();
    if (!open_until.empty()) {
      EXPECT_LE(end, open_until.back()) << WriteJson(events[i]);
    }
    open_until.push_back(end);
    deepest = std::max(deepest, open_until.size());
  }
  EXPECT_GE(deepest, 4u);
  EXPECT_EQ(events[2].Find("name")->string(), "layer 0");
  EXPECT_EQ(events[3].Find("name")->string(), "FP8 products");
  EXPECT_EQ(events[3].Find("args")->Find("weight_bytes")->number().text, "10");
  EXPECT_EQ(events[3].Find("args")->Find("operations")->number().text, "40");
  EXPECT_EQ(events[4].Find("args")->Find("operations"), nullptr);
}

TEST(ChromeTrace, SaysHowMuchIsMissing) {
  Trace trace;
  trace.Record(2);
  for (int i = 0; i < 5; ++i) const TraceSpan span(&trace, Operation::kPass);
  const auto json = ParseJson(ChromeTraceJson(trace));
  ASSERT_TRUE(json.ok()) << json.error().message;
  EXPECT_EQ(json.value().Find("otherData")->Find("dropped_events")->number().text, "3");
  EXPECT_EQ(json.value().Find("traceEvents")->array().size(), 3u);
}

TEST(ChromeTrace, APlaceThatCannotBeWrittenIsAnError) {
  const Trace trace;
  EXPECT_FALSE(WriteChromeTrace(trace, "/no such folder/trace.json").ok());
}

}  // namespace
}  // namespace fathom::measure
