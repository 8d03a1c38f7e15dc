// For tests of answer writers: a completion read by the real parser in pieces of any size, fed to a
// writer, and the SSE text of a stream taken apart again.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/answer.h"
#include "base/json.h"
#include "chat/output_parser.h"

namespace fathom::api {

struct SseEvent {
  std::string name;
  Json data;
};

// Every event must be `event: NAME`, `data: JSON`, an empty line; comments are skipped. The name
// and the data's "type" agree.
inline std::vector<SseEvent> ReadEvents(std::string_view sse) {
  std::vector<SseEvent> events;
  while (!sse.empty()) {
    const size_t end = sse.find("\n\n");
    EXPECT_NE(end, sse.npos) << sse;
    if (end == sse.npos) break;
    std::string_view lines = sse.substr(0, end);
    sse.remove_prefix(end + 2);
    if (lines.starts_with(':')) continue;
    const size_t line = lines.find('\n');
    EXPECT_TRUE(lines.starts_with("event: ") && line != lines.npos) << lines;
    const std::string_view data = lines.substr(line + 1);
    EXPECT_TRUE(data.starts_with("data: ")) << lines;
    const auto json = ParseJson(data.substr(6));
    EXPECT_TRUE(json.ok()) << lines;
    if (!json.ok()) break;
    SseEvent event{.name = std::string(lines.substr(7, line - 7)), .data = json.value()};
    const Json* type = event.data.Find("type");
    EXPECT_TRUE(type != nullptr && *type == Json(event.name)) << lines;
    events.push_back(std::move(event));
  }
  return events;
}

// The value at a path such as "response.output.0.id"; null when there is none.
inline Json At(const Json& json, std::string_view path) {
  const Json* at = &json;
  while (!path.empty() && at != nullptr) {
    const size_t dot = std::min(path.find('.'), path.size());
    const std::string name(path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
    if (at->is_array()) {
      const size_t index = std::stoul(name);
      at = index < at->array().size() ? &at->array()[index] : nullptr;
    } else {
      at = at->Find(name);
    }
  }
  return at == nullptr ? Json() : *at;
}

// What a model writes, and why it stopped.
struct Completion {
  std::string text;
  chat::StopReason stop = chat::StopReason::kStop;
  // Overrides what follows from the text: for ends that the parser does not know.
  std::optional<End::Reason> reason = {};
};

inline constexpr Usage kTestUsage = {
    .prompt_tokens = 300, .cached_tokens = 128, .completion_tokens = 29, .reasoning_tokens = 7};

inline Identity TestIdentity() {
  return {.id = "0123456789abcdef0123456789abcdef",
          .created_s = 1763913000,
          .salt = 7,
          .fingerprint = "fp_test",
          .now_s = [] { return int64_t{1763913005}; }};
}

// All that the writer sends for the completion, cut into pieces of this size; the first piece may
// have another.
inline std::string WriteAnswer(AnswerWriter& writer, const Request& request,
                               const Completion& completion, size_t piece_bytes,
                               size_t first_bytes = 0) {
  std::vector<Json> functions;
  for (const Tool& tool : request.tools) functions.push_back(tool.function);
  chat::OutputParser parser({.starts_in_reasoning = request.thinks() && !request.continues_prefix,
                             .tools = chat::ReadToolSchemas(functions),
                             .stop_strings = request.generation.stop});
  std::string out = writer.Begin(
      {.prompt_tokens = kTestUsage.prompt_tokens, .cached_tokens = kTestUsage.cached_tokens});
  const auto add = [&](const std::vector<chat::Delta>& deltas) {
    for (const chat::Delta& delta : deltas) out += writer.Add(0, {.delta = delta});
  };
  for (std::string_view rest = completion.text; !rest.empty();) {
    const size_t wanted = first_bytes > 0 ? std::exchange(first_bytes, 0) : piece_bytes;
    const size_t bytes = std::min(wanted, rest.size());
    add(parser.Feed(rest.substr(0, bytes)));
    rest.remove_prefix(bytes);
  }
  const auto finished = parser.Finish(completion.stop);
  add(finished.deltas);
  End end;
  switch (finished.reason) {
    case chat::FinishReason::kStop:
      end.reason = parser.stop_string_hit() ? End::Reason::kStopString : End::Reason::kStop;
      break;
    case chat::FinishReason::kLength:
      end.reason = End::Reason::kLength;
      break;
    case chat::FinishReason::kToolCalls:
      end.reason = End::Reason::kToolCalls;
      break;
  }
  if (completion.reason) end.reason = *completion.reason;
  if (end.reason == End::Reason::kStopString) end.stop_string = request.generation.stop.at(0);
  // As the engine's side knows it: the arguments of the last call never closed.
  const chat::ParsedMessage message =
      chat::ParseCompletion(completion.text,
                            {.starts_in_reasoning = request.thinks() && !request.continues_prefix,
                             .tools = chat::ReadToolSchemas(functions)},
                            completion.stop);
  end.has_partial_call =
      !message.tool_calls.empty() && !ParseJson(message.tool_calls.back().arguments).ok();
  out += writer.EndChoice(0, end, kTestUsage);
  out += writer.Finish(kTestUsage);
  return out;
}

// The completions that every dialect is tried with: markup whole, cut off, repaired, in odd places.
inline std::vector<Completion> TestCompletions() {
  const std::string call_f =
      "<｜DSML｜invoke name=\"f\">\n"
      "<｜DSML｜parameter name=\"city\" string=\"true\">Zürich \"x\"\n\\</｜DSML｜parameter>\n"
      "<｜DSML｜parameter name=\"days\" string=\"false\">[1, 2.50]</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n";
  const std::string call_g = "<｜DSML｜invoke name=\"g\">\n\n</｜DSML｜invoke>\n";
  const std::string call_patch =
      "<｜DSML｜invoke name=\"apply_patch\">\n"
      "<｜DSML｜parameter name=\"input\" string=\"true\">*** Begin \"Patch\"\n\t😀\\n\x01 end"
      "</｜DSML｜parameter>\n</｜DSML｜invoke>\n";
  const std::string open = "\n\n<｜DSML｜tool_calls>\n";
  const std::string close = "</｜DSML｜tool_calls>";
  using chat::StopReason;
  return {
      {.text = "thought</think>answer"},
      {.text = "</think>answer"},
      {.text = "thought 1 < 2\n\n</think>\n\nanswer with <｜DSML｜ and \"quotes\" \\ 😀\n\n"},
      {.text = "thought"},
      {.text = ""},
      {.text = "thought</think>cut", .stop = StopReason::kLength},
      {.text = "thought</think>full", .reason = End::Reason::kContextFull},
      {.text = "thought</think>gone", .reason = End::Reason::kAborted},
      {.text = "thought</think>before" + open + call_f + call_g + close},
      {.text = "t</think>" + open + call_g + close},
      {.text = "t</think>" + open + call_patch + call_f + close},
      {.text = "t" + open + call_f + close + "\n after" + open + call_g + close},
      {.text = "t</think>a<think>more</think>b"},
      {.text = "t</think>" + open + call_f.substr(0, 60), .stop = StopReason::kLength},
      {.text = "t</think>x" + open + call_g + call_f.substr(0, 120), .stop = StopReason::kLength},
      {.text = "t</think>" + open + call_patch.substr(0, 130), .stop = StopReason::kLength},
      {.text = "t</think>" + open + call_f + call_g.substr(0, 20), .stop = StopReason::kLength},
      {.text = "t</think>" + open + call_f},
      {.text = "t</think>one END two"},
  };
}

}  // namespace fathom::api
