// Items by their type; those of tools that run elsewhere, and unknown ones, are skipped. Ids of
// items, their status and phase mean nothing here: whatever a client sends is taken.
#include "api/responses/items.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "api/common.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

using chat::ContentPart;
using chat::Role;

class Reader {
 public:
  explicit Reader(const Facts& facts) : facts_(facts) {}

  Parsed<std::vector<Turn>> Read(const Field& instructions, const Field& input) && {
    FATHOM_TRY(auto system, instructions.OptString());
    if (system) turns_.AddSystem(*std::move(system));
    if (input.json().is_string()) {
      turns_.AddUser({ContentPart::Text(input.json().string())});
    } else if (input.has_value()) {
      if (!input.json().is_array()) return input.WrongType("a string or a sequence of items");
      FATHOM_TRY(const auto items, input.Items());
      for (const Field& item : items) {
        FATHOM_TRY_VOID(ReadItem(item));
      }
    }
    return std::move(turns_.turns());
  }

 private:
  Parsed<void> ReadItem(const Field& item) {
    FATHOM_TRY_VOID(item.Object("struct InputItem"));
    FATHOM_TRY(const auto type, item["type"].OptString());
    if (!type && item["role"].is_absent()) return item["type"].Missing();
    if (!type || *type == "message") return ReadMessage(item);
    if (*type == "reasoning") return ReadReasoning(item);
    if (*type == "function_call" || *type == "custom_tool_call")
      return ReadCall(item, *type == "custom_tool_call");
    if (*type == "function_call_output" || *type == "custom_tool_call_output")
      return ReadOutput(item);
    return {};
  }

  Parsed<void> ReadMessage(const Field& item) {
    FATHOM_TRY(const int64_t role,
               item["role"].Variant({"user", "assistant", "system", "developer"}));
    FATHOM_TRY(auto parts, ReadParts(item["content"]));
    if (role == 1 || role == 2) {
      std::vector<std::string> texts;
      for (const ContentPart& part : parts)
        if (part.kind == ContentPart::Kind::kText) texts.push_back(part.text);
      if (role == 1) {
        turns_.AddAssistantText(JoinTexts(texts));
      } else {
        turns_.AddSystem(JoinTexts(texts));
      }
    } else {  // a developer is a user in this dialect
      turns_.AddUser(std::move(parts));
    }
    return {};
  }

  // A string or a list of parts, of a message or of an output.
  Parsed<std::vector<ContentPart>> ReadParts(const Field& content) {
    std::vector<ContentPart> parts;
    if (content.is_absent()) return content.Missing();
    if (content.json().is_string()) {
      parts.push_back(ContentPart::Text(content.json().string()));
      return parts;
    }
    if (content.json().is_null() && !content.is_strict()) return parts;
    if (!content.json().is_array()) return content.WrongType("a string or a sequence of parts");
    FATHOM_TRY(const auto items, content.Items());
    for (const Field& item : items) {
      FATHOM_TRY_VOID(ReadPart(item, parts));
    }
    return parts;
  }

  Parsed<void> ReadPart(const Field& part, std::vector<ContentPart>& parts) {
    FATHOM_TRY_VOID(part.Object("struct ContentPart"));
    const Field type = part["type"];
    FATHOM_TRY(const std::string name, type.String());
    if (name == "input_text" || name == "output_text" || name == "text" || name == "refusal") {
      FATHOM_TRY(std::string text, part[name == "refusal" ? "refusal" : "text"].String());
      parts.push_back(ContentPart::Text(std::move(text)));
    } else if (name == "input_image") {
      parts.push_back(ImagePart(facts_));
    } else if (name == "input_file") {
      parts.push_back(ContentPart::Text(Unsupported("file")));
    } else if (type.is_strict()) {
      return type.UnknownVariant(
          {"input_text", "output_text", "refusal", "input_image", "input_file"});
    }
    return {};
  }

  // Summaries and encrypted content say nothing to the model.
  Parsed<void> ReadReasoning(const Field& item) {
    const Field content = item["content"];
    FATHOM_TRY(const auto parts, content.OptItems());
    std::vector<std::string> texts;
    for (const Field& part : parts) {
      FATHOM_TRY_VOID(part.Object("struct ReasoningPart"));
      FATHOM_TRY(const std::string type, part["type"].String());
      if (type != "reasoning_text" && type != "text") continue;
      FATHOM_TRY(texts.emplace_back(), part["text"].String());
    }
    if (content.has_value()) turns_.AddReasoning(JoinTexts(texts));
    return {};
  }

  Parsed<void> ReadCall(const Field& item, bool is_custom) {
    chat::ToolCall call;
    FATHOM_TRY(call.id, item["call_id"].String());
    FATHOM_TRY(call.name, item["name"].String());
    if (is_custom) {
      FATHOM_TRY(std::string input, item["input"].String());
      call.arguments = WriteJson(Json::Object{{"input", std::move(input)}});
    } else if (item["arguments"].json().is_object() && !item.is_strict()) {
      call.arguments = WriteJson(item["arguments"].json());
    } else {
      FATHOM_TRY(call.arguments, item["arguments"].String());
    }
    turns_.Assistant().message.tool_calls.push_back(std::move(call));
    return {};
  }

  Parsed<void> ReadOutput(const Field& item) {
    FATHOM_TRY(std::string id, item["call_id"].String());
    FATHOM_TRY(auto parts, ReadParts(item["output"]));
    turns_.AddResult(std::move(id), std::move(parts));
    return {};
  }

  const Facts& facts_;
  TurnList turns_;
};

// Takes the calls out that have no output; a turn that says nothing else goes with them.
void DropUnanswered(const std::unordered_map<std::string, int64_t>& outputs,
                    std::vector<Turn>& turns) {
  const auto last = std::find_if(turns.rbegin(), turns.rend(), [](const Turn& turn) {
    return turn.message.role == Role::kAssistant;
  });
  if (last == turns.rend()) return;
  chat::Message& message = last->message;
  const auto dropped = std::erase_if(
      message.tool_calls, [&](const chat::ToolCall& call) { return outputs.at(call.id) == 0; });
  if (dropped > 0 && message.tool_calls.empty() && message.content.value_or("").empty())
    turns.erase(std::next(last).base());
}

}  // namespace

Parsed<std::vector<Turn>> ReadInput(const Field& instructions, const Field& input,
                                    const Facts& facts) {
  return Reader(facts).Read(instructions, input);
}

Parsed<void> SettleCalls(Profile profile, std::vector<Turn>& turns) {
  std::unordered_map<std::string, int64_t> outputs;  // of each call so far
  for (const Turn& turn : turns) {
    for (const chat::ToolCall& call : turn.message.tool_calls) {
      if (call.id.empty())
        return BadRequest("Invalid 'input': expected a call_id, found an empty string.");
      if (!outputs.try_emplace(call.id, 0).second)
        return BadRequest(
            fmt::format("Invalid 'input': call_id must be unique, found '{}' twice.", call.id));
    }
    if (turn.message.role != Role::kTool) continue;
    const std::string& id = turn.message.tool_call_id;
    const auto call = outputs.find(id);
    if (call == outputs.end() || (call->second > 0 && profile == Profile::kStrict))
      return BadRequest(
          fmt::format("No tool call found for function call output with call_id {}.", id));
    ++call->second;
  }
  if (profile == Profile::kDefault) DropUnanswered(outputs, turns);
  for (const Turn& turn : turns)
    for (const chat::ToolCall& call : turn.message.tool_calls)
      if (outputs.at(call.id) == 0)
        return BadRequest(fmt::format("No tool output found for function call {}.", call.id));
  return {};
}

}  // namespace fathom::api
