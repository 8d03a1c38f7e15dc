// What a model generates (chat/output_parser.h): any text, cut in any way, gives the same message
// as the whole text; every delta is UTF-8; arguments of complete calls are JSON; and no markup of
// tool calls shows up in the content. The first bytes choose the settings and the cuts.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "chat/output_parser.h"
#include "chat/python_json.h"
#include "chat/templates.h"
#include "text/utf8.h"

namespace {

using namespace fathom;

chat::ParsedMessage ParseInPieces(std::string_view text, uint32_t seed,
                                  const chat::ParserOptions& options, chat::StopReason reason) {
  chat::OutputParser parser(options);
  chat::ParsedMessage message;
  const auto append = [&](const std::vector<chat::Delta>& deltas) {
    for (const chat::Delta& delta : deltas) {
      FATHOM_CHECK(text::IsValidUtf8(delta.text), "a delta is not UTF-8");
      chat::Append(message, delta);
    }
  };
  while (!text.empty()) {
    seed = seed * 1664525 + 1013904223;
    const size_t bytes = 1 + (seed >> 24) % 9;
    append(parser.Feed(text.substr(0, bytes)));
    text.remove_prefix(std::min(bytes, text.size()));
  }
  const auto finished = parser.Finish(reason);
  append(finished.deltas);
  message.finish_reason = finished.reason;
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const uint32_t seed = static_cast<uint32_t>(data[1]) | static_cast<uint32_t>(data[2]) << 8 |
                        static_cast<uint32_t>(data[3]) << 16;
  const std::string_view text(reinterpret_cast<const char*>(data) + 4, size - 4);
  chat::ParserOptions options;
  options.starts_in_reasoning = (data[0] & 1) != 0;
  options.reads_control_text = (data[0] & 2) == 0;
  const auto reason = (data[0] & 4) != 0 ? chat::StopReason::kLength : chat::StopReason::kStop;
  if ((data[0] & 8) != 0) options.stop_strings = {"END", "\n\n", "a<"};
  if ((data[0] & 16) != 0) options.tools = {{.name = "f", .parameters = {"a", "b"}}};

  const chat::ParsedMessage whole = chat::ParseCompletion(text, options, reason);
  FATHOM_CHECK(ParseInPieces(text, seed, options, reason) == whole, "cuts change the result");

  for (size_t i = 0; i < whole.tool_calls.size(); ++i) {
    const auto json = chat::ParsePythonJson(whole.tool_calls[i].arguments);
    // Only the last call may be cut off, and then it must not read as a whole one.
    const bool may_be_open =
        i + 1 == whole.tool_calls.size() && whole.finish_reason == chat::FinishReason::kLength;
    FATHOM_CHECK(json.ok() || may_be_open, "arguments of a complete call are not JSON");
  }
  // What is dropped between two halves of a marker joins what stood apart; that is the model's own
  // doing.
  std::string halves(text);
  for (size_t at; (at = halves.find(chat::kDsml)) != halves.npos;)
    halves.replace(at, chat::kDsml.size(), "x");
  if (halves.find("｜") == halves.npos)
    FATHOM_CHECK(whole.content.find(chat::kDsml) == std::string::npos, "markup leaks");
  return 0;
}
