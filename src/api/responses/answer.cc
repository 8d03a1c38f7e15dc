// Answers of the Responses dialect: items of reasoning, text and calls, one open at a time, each
// with its own events, numbered through. What an item said when it was done stands again, letter
// for letter, in the response object at the end. Every item that was opened is done before the
// answer ends, however it ends. Source: docs/api.md, "Responses". Not here: reading requests.
#include <fmt/format.h>

#include <cmath>
#include <unordered_map>
#include <utility>

#include "api/answer_makers.h"
#include "api/ids.h"
#include "api/logprob_entries.h"
#include "api/responses/custom_input.h"
#include "base/check.h"
#include "base/json.h"

namespace fathom::api {
namespace {

enum class ItemKind { kReasoning, kMessage, kFunctionCall, kCustomCall };

// How the parts of an item are called on the wire.
struct ItemWords {
  std::string_view id_prefix;
  std::string_view delta_event;
  std::string_view done_event;
  std::string_view text_member;  // of the done event
};
ItemWords WordsOf(ItemKind kind) {
  switch (kind) {
    case ItemKind::kReasoning:
      return {"rs", "response.reasoning_text.delta", "response.reasoning_text.done", "text"};
    case ItemKind::kMessage:
      return {"msg", "response.output_text.delta", "response.output_text.done", "text"};
    case ItemKind::kFunctionCall:
      return {"fc", "response.function_call_arguments.delta",
              "response.function_call_arguments.done", "arguments"};
    case ItemKind::kCustomCall:
      break;
  }
  return {"ctc", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done",
          "input"};
}

struct Item {
  ItemKind kind = ItemKind::kMessage;
  std::string id = {};
  std::string text = {};      // escaped for JSON, without quotes
  std::string logprobs = {};  // entries with commas between them
  // Calls.
  std::string call_id = {};
  std::string name = {};
  std::string namespace_name = {};
  CustomInput input = {};
};

void AppendLogprob(std::string& out, double logprob) {
  // "Very unlikely" in the platform's words; JSON has no infinity.
  constexpr double kUnlikely = -9999.0;
  out += Json(std::isfinite(logprob) ? logprob : kUnlikely).number().text;
}

// The one content part of a reasoning or message item.
std::string WritePart(const Item& item) {
  if (item.kind == ItemKind::kReasoning)
    return fmt::format(R"({{"type":"reasoning_text","text":"{}"}})", item.text);
  return fmt::format(R"({{"type":"output_text","text":"{}","annotations":[],"logprobs":[{}]}})",
                     item.text, item.logprobs);
}

// An item that is in progress shows nothing of its content.
std::string WriteItem(const Item& item, std::string_view status) {
  const bool is_new = status == "in_progress";
  const std::string part = is_new ? "" : WritePart(item);
  const std::string_view text = is_new ? std::string_view() : item.text;
  switch (item.kind) {
    case ItemKind::kReasoning:
      return fmt::format(
          R"({{"type":"reasoning","id":"{}","status":"{}","summary":[],"content":[{}],)"
          R"("encrypted_content":null}})",
          item.id, status, part);
    case ItemKind::kMessage:
      return fmt::format(
          R"({{"type":"message","id":"{}","status":"{}","role":"assistant","content":[{}]}})",
          item.id, status, part);
    case ItemKind::kFunctionCall:
    case ItemKind::kCustomCall:
      break;
  }
  const bool is_custom = item.kind == ItemKind::kCustomCall;
  const std::string space = item.namespace_name.empty()
                                ? std::string()
                                : ",\"namespace\":" + JsonString(item.namespace_name);
  return fmt::format(
      R"({{"type":"{}","id":"{}","call_id":"{}","name":{}{},"{}":"{}","status":"{}"}})",
      is_custom ? "custom_tool_call" : "function_call", item.id, item.call_id,
      JsonString(item.name), space, WordsOf(item.kind).text_member, text, status);
}

// How calls of a tool come back.
struct ToolForm {
  std::string namespace_name;
  bool is_custom = false;
};

std::string WriteUsage(const Usage& usage) {
  return fmt::format(
      R"({{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{}}},"output_tokens":{},)"
      R"("output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}})",
      usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens,
      usage.prompt_tokens + usage.completion_tokens);
}

class ResponsesWriter final : public AnswerWriter {
 public:
  ResponsesWriter(const Request& request, const Identity& identity)
      : identity_(identity),
        model_(request.model),
        streams_(request.stream),
        asks_logprobs_(request.generation.logprobs.has_value()),
        owes_reasoning_(request.thinks() && !request.continues_prefix) {
    for (const Tool& tool : request.tools) {
      ToolForm& form = tools_[tool.name];
      form.namespace_name = tool.namespace_name;
      form.is_custom |= tool.is_custom;
    }
    if (request.echoed.is_object())
      for (const auto& [name, value] : request.echoed.object())
        echoed_ += "," + JsonString(name) + ":" + WriteJson(value);
  }

  std::string Begin(const Usage&) override {
    std::string out;
    has_begun_ = true;
    const std::string response = ",\"response\":" + WriteResponse("in_progress", "", "null");
    AppendEvent(out, "response.created", response);
    AppendEvent(out, "response.in_progress", response);
    return out;
  }

  std::string Add(int64_t choice, const Part& part) override {
    FATHOM_CHECK_EQ(choice, 0);
    std::string out;
    const chat::Delta& delta = part.delta;
    switch (delta.kind) {
      case chat::Delta::Kind::kReasoning:
        Enter(out, ItemKind::kReasoning);
        AppendText(out, delta.text, {});
        break;
      case chat::Delta::Kind::kContent:
        Enter(out, ItemKind::kMessage);
        AppendText(out, delta.text, part.logprobs);
        break;
      case chat::Delta::Kind::kToolCallStart:
        OpenCall(out, delta.text);
        break;
      case chat::Delta::Kind::kToolCallArguments:
        FATHOM_CHECK(is_open_ && HoldsCall());
        if (item_.kind == ItemKind::kCustomCall) {
          AppendText(out, item_.input.Add(delta.text), {});
        } else {
          AppendText(out, delta.text, {});
        }
        break;
    }
    return out;
  }

  std::string EndChoice(int64_t choice, const End& end, const Usage&) override {
    FATHOM_CHECK_EQ(choice, 0);
    std::string out;
    SettleReasoning(out, ItemKind::kMessage);
    end_ = end;
    const bool is_cut = is_open_ && HoldsCall() ? end.has_partial_call : IsCut();
    CloseItem(out, is_cut ? "incomplete" : "completed");
    return out;
  }

  std::string Finish(const Usage& usage) override {
    const char* status = "completed";
    std::string reason;
    if (end_.reason == End::Reason::kAborted) {
      status = "failed";
      reason = WriteErrorMember("server_error", "The answer was ended by the server.");
    } else if (IsCut() || end_.has_partial_call) {
      status = "incomplete";
      reason = R"("error":null,"incomplete_details":{"reason":"max_output_tokens"})";
    }
    const std::string response = WriteResponse(status, reason, WriteUsage(usage));
    if (!streams_) return response;
    std::string out;
    AppendEvent(out, fmt::format("response.{}", status), ",\"response\":" + response);
    return out;
  }

  std::string Fail(const ApiError& error) override {
    if (!streams_) return WriteError(error, Dialect::kResponses, identity_.id);
    std::string out;
    if (!has_begun_) out = Begin({});  // clients know no stream that opens by its end
    CloseItem(out, "incomplete");
    AppendEvent(out, "response.failed",
                ",\"response\":" +
                    WriteResponse("failed", WriteErrorMember(error.type, error.message), "null"));
    return out;
  }

  const std::vector<std::string>& CallIds(int64_t choice) const override {
    FATHOM_CHECK_EQ(choice, 0);
    return call_ids_;
  }

 private:
  bool HoldsCall() const {
    return item_.kind == ItemKind::kFunctionCall || item_.kind == ItemKind::kCustomCall;
  }
  bool IsCut() const {
    return end_.reason == End::Reason::kLength || end_.reason == End::Reason::kContextFull ||
           end_.reason == End::Reason::kAborted;
  }

  static std::string WriteErrorMember(std::string_view code, std::string_view message) {
    return fmt::format(R"("error":{{"code":{},"message":{}}},"incomplete_details":null)",
                       JsonString(code), JsonString(message));
  }

  // The response object with the items done so far. `reason`: its members `error` and
  // `incomplete_details` when they are not both null.
  std::string WriteResponse(std::string_view status, std::string_view reason,
                            std::string_view usage) const {
    constexpr std::string_view kNoReason = R"("error":null,"incomplete_details":null)";
    std::string completed_at = "null";
    if (status == "completed")
      completed_at = std::to_string(identity_.now_s ? identity_.now_s() : identity_.created_s);
    return fmt::format(
        R"({{"id":"resp_{}","object":"response","created_at":{},"status":"{}","background":false,)"
        R"("completed_at":{},{},"model":{},"output":[{}],"usage":{}{}}})",
        identity_.id, identity_.created_s, status, completed_at,
        reason.empty() ? kNoReason : reason, JsonString(model_), output_, usage, echoed_);
  }

  // `members` with a comma in front.
  void AppendEvent(std::string& out, std::string_view name, std::string_view members) {
    if (!streams_) return;
    fmt::format_to(std::back_inserter(out),
                   "event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":{1}{2}}}\n\n", name,
                   sequence_++, members);
  }

  // The members of every event about the open item.
  std::string ItemMembers() const {
    return fmt::format(",\"item_id\":\"{}\",\"output_index\":{}{}", item_.id, output_index_,
                       HoldsCall() ? "" : ",\"content_index\":0");
  }

  void AppendText(std::string& out, std::string_view text,
                  const std::vector<LogprobEntry>& logprobs) {
    if (text.empty()) return;
    const size_t begin = item_.text.size();
    AppendJsonEscaped(item_.text, text);
    std::string entries;
    if (asks_logprobs_ && !logprobs.empty()) {
      AppendLogprobEntries(entries, logprobs, AppendLogprob);
      if (!item_.logprobs.empty()) item_.logprobs += ',';
      item_.logprobs += entries;
    }
    if (!streams_) return;
    out += delta_head_;
    out += std::to_string(sequence_++);
    out += delta_members_;
    out += std::string_view(item_.text).substr(begin);
    out += '"';
    if (item_.kind == ItemKind::kMessage) out += ",\"logprobs\":[" + entries + "]";
    out += "}\n\n";
  }

  // Makes an item of this kind the open one.
  void Enter(std::string& out, ItemKind kind) {
    if (is_open_ && item_.kind == kind) return;
    SettleReasoning(out, kind);
    CloseItem(out, "completed");
    OpenItem(out, {.kind = kind});
  }

  void OpenCall(std::string& out, const std::string& name) {
    SettleReasoning(out, ItemKind::kFunctionCall);
    CloseItem(out, "completed");
    call_ids_.push_back(NumberedCallId(identity_, std::ssize(call_ids_)));
    Item item{.kind = ItemKind::kFunctionCall, .call_id = call_ids_.back(), .name = name};
    if (const auto tool = tools_.find(name); tool != tools_.end()) {
      item.namespace_name = tool->second.namespace_name;
      if (tool->second.is_custom) item.kind = ItemKind::kCustomCall;
    }
    OpenItem(out, std::move(item));
  }

  // A model that thinks has a reasoning item, if only an empty one to send back.
  void SettleReasoning(std::string& out, ItemKind next) {
    if (!std::exchange(owes_reasoning_, false) || next == ItemKind::kReasoning) return;
    Enter(out, ItemKind::kReasoning);
  }

  void OpenItem(std::string& out, Item item) {
    is_open_ = true;
    ++output_index_;
    item_ = std::move(item);
    const ItemWords words = WordsOf(item_.kind);
    item_.id =
        fmt::format("{}_{}", words.id_prefix, IdTail(identity_, words.id_prefix, output_index_));
    if (!streams_) return;
    AppendEvent(out, "response.output_item.added",
                fmt::format(",\"output_index\":{},\"item\":{}", output_index_,
                            WriteItem(item_, "in_progress")));
    if (!HoldsCall())
      AppendEvent(out, "response.content_part.added",
                  ItemMembers() + ",\"part\":" + WritePart(item_));
    delta_head_ =
        fmt::format("event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":", words.delta_event);
    delta_members_ = ItemMembers() + ",\"delta\":\"";
  }

  void CloseItem(std::string& out, std::string_view status) {
    if (!is_open_) return;
    if (item_.kind == ItemKind::kCustomCall) AppendText(out, item_.input.Finish(), {});
    is_open_ = false;
    const std::string item = WriteItem(item_, status);
    if (!output_.empty()) output_ += ',';
    output_ += item;
    if (!streams_) return;
    const ItemWords words = WordsOf(item_.kind);
    std::string more;
    if (item_.kind == ItemKind::kMessage) more = ",\"logprobs\":[" + item_.logprobs + "]";
    if (item_.kind == ItemKind::kFunctionCall) more = ",\"name\":" + JsonString(item_.name);
    AppendEvent(
        out, words.done_event,
        fmt::format("{}{},\"{}\":\"{}\"", ItemMembers(), more, words.text_member, item_.text));
    if (!HoldsCall())
      AppendEvent(out, "response.content_part.done",
                  ItemMembers() + ",\"part\":" + WritePart(item_));
    AppendEvent(out, "response.output_item.done",
                fmt::format(",\"output_index\":{},\"item\":{}", output_index_, item));
  }

  const Identity identity_;
  const std::string model_;
  std::unordered_map<std::string, ToolForm> tools_;  // by name
  const bool streams_;
  const bool asks_logprobs_;
  bool owes_reasoning_;
  std::string echoed_;  // members with a comma in front of each

  bool has_begun_ = false;
  int64_t sequence_ = 0;
  int64_t output_index_ = -1;  // of the latest item
  bool is_open_ = false;
  Item item_;                  // the latest
  std::string output_;         // items that are done, commas between them
  std::string delta_head_;     // of the open item's delta events, up to the sequence number
  std::string delta_members_;  // from there to the text
  std::vector<std::string> call_ids_;
  End end_;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeResponsesWriter(const Request& request,
                                                  const Identity& identity) {
  return std::make_unique<ResponsesWriter>(request, identity);
}

}  // namespace fathom::api
