#include "tests/conversations/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <random>

#include "tests/api/requests.h"

namespace fathom::conversations {
namespace {

const char* const kWords[] = {"the",    "build", "fails", "in",    "line",  "file",  "weather",
                              "Zürich", "tests", "and",   "then",  "it",    "works", "42",
                              "3.50",   "{",     "}",     "\"x\"", "für",   "数据",  "again",
                              "why",    "never", "read",  "\n",    "cache", "of",    "**bold**"};

class Writer {
 public:
  explicit Writer(uint64_t seed) : engine_(seed * 7919 + 1) {}

  uint64_t Random() { return engine_(); }
  // From 0 to below `count`.
  int64_t Below(int64_t count) {
    return static_cast<int64_t>(engine_() % static_cast<uint64_t>(count));
  }
  bool OneIn(int64_t count) { return Below(count) == 0; }

  std::string Words(int64_t least, int64_t most) {
    std::string text;
    for (int64_t i = least + Below(most - least + 1); i > 0; --i) {
      if (!text.empty()) text += ' ';
      text += kWords[Below(std::ssize(kWords))];
    }
    return text;
  }

  // One to three calls; values with spellings that JSON writers change. A line end after the block
  // is nothing that a client sees: the next prompt has it by the ids of the answer alone.
  std::string Calls() {
    std::string invokes;
    for (int64_t i = OneIn(3) ? 1 + Below(3) : 1; i > 0; --i) {
      if (OneIn(2)) {
        invokes += conformance::Invoke(
            "get_weather", conformance::TextParameter("city", Words(1, 3)) +
                               conformance::JsonParameter("days", std::to_string(Below(9))));
      } else {
        invokes += conformance::Invoke(
            "search", conformance::JsonParameter("limit", OneIn(2) ? "10" : "1e1") +
                          conformance::TextParameter("query", Words(1, 8)));
      }
    }
    return conformance::Block(invokes) + (OneIn(4) ? "\n" : "");
  }

  std::string Completion(const Plan& plan) {
    std::string text;
    if (plan.thinks) text = (OneIn(5) ? "" : Words(3, 12)) + "</think>";
    const bool calls = plan.has_tools && !OneIn(3);
    if (!calls || OneIn(2)) text += Words(1, 12);
    return calls ? text + Calls() : text;
  }

 private:
  std::mt19937_64 engine_;
};

Edit EditOf(Writer& writer) {
  if (!writer.OneIn(6)) return Edit::kNone;
  const int64_t kind = writer.Below(7);
  return kind == 0 ? Edit::kSystem : kind < 4 ? Edit::kEarlierText : Edit::kGoBack;
}

}  // namespace

const char* Name(Client client) {
  switch (client) {
    case Client::kFaithful:
      return "as it came";
    case Client::kRespells:
      return "respelled";
    case Client::kDropsThought:
      return "without reasoning";
    case Client::kEdits:
      break;
  }
  return "edited";
}

Plan MakePlan(uint64_t number, int64_t steps_max) {
  Writer writer(number);
  Plan plan;
  plan.dialect = conformance::kConversing[number % std::size(conformance::kConversing)];
  plan.client = kClients[number / 3 % std::size(kClients)];
  plan.thinks = !writer.OneIn(3);
  // Without tools the format itself leaves earlier reasoning out.
  plan.has_tools = plan.thinks || !writer.OneIn(4);
  if (plan.client == Client::kDropsThought && writer.OneIn(3)) plan.has_tools = false;
  plan.system = fmt::format("You are helper {}. {}", number, writer.Words(10, 80));
  const int64_t steps = 5 + writer.Below(steps_max - 4);
  for (int64_t i = 0; i < steps; ++i) {
    Step step;
    if (i > 1 && plan.client == Client::kEdits) step.edit = EditOf(writer);
    step.random = writer.Random();
    step.marker = fmt::format("<{}:{}>", number, i);
    step.text = step.marker + writer.Words(2, 30);
    for (std::string& result : step.results) result = writer.Words(1, 40);
    step.results[0] = step.marker + step.results[0];
    step.completion = writer.Completion(plan);
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

std::string Edited(const std::string& text, uint64_t random) {
  // Behind the marker.
  const size_t first = text.find('>') + 1;
  const size_t space = text.find(' ', first + random % (text.size() - first + 1));
  std::string edited = text;
  edited.insert(std::min(space, text.size()), " (no, differently)");
  return edited;
}

}  // namespace fathom::conversations
