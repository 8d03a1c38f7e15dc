// Answers of the Anthropic dialect: blocks of thinking, text and tool use, one open at a time. A
// stream opens and closes them by events; a whole body lists them. Both see the same blocks in the
// same order, only a call that was cut off is missing in the body, where it could not be shown.
// Source: docs/api.md, "Anthropic Messages". Not here: reading requests (request.cc).
#include <fmt/format.h>

#include <utility>

#include "api/answer_makers.h"
#include "api/ids.h"
#include "base/check.h"
#include "base/json.h"
#include "chat/python_json.h"

namespace fathom::api {
namespace {

enum class BlockKind { kThinking, kText, kToolUse };

struct Block {
  BlockKind kind;
  std::string text = {};  // of a whole body; tool use: the arguments
  std::string id = {};    // kToolUse
  std::string name = {};  // kToolUse
};

void AppendEvent(std::string& out, std::string_view name, std::string_view members) {
  out += "event: ";
  out += name;
  out += "\ndata: {\"type\":\"";
  out += name;
  out += '"';
  out += members;
  out += "}\n\n";
}

// {"input_tokens":..., without its closing brace. What came from the cache is not input.
std::string OpenUsage(const Usage& usage) {
  return fmt::format(
      "{{\"input_tokens\":{},\"cache_creation_input_tokens\":0,"
      "\"cache_read_input_tokens\":{},\"output_tokens\":{}",
      usage.prompt_tokens - usage.cached_tokens, usage.cached_tokens, usage.completion_tokens);
}

class MessagesWriter final : public AnswerWriter {
 public:
  MessagesWriter(const Request& request, const Identity& identity)
      : identity_(identity),
        id_("msg_" + identity.id),
        model_(request.model),
        streams_(request.stream),
        wants_context_exceeded_(request.wants_context_exceeded),
        owes_thinking_(request.thinks() && !request.continues_prefix) {}

  std::string Begin(const Usage& usage) override {
    if (!streams_) return {};
    std::string out;
    AppendEvent(out, "message_start",
                ",\"message\":" + OpenMessage("", "null", "null") + OpenUsage(usage) +
                    ",\"service_tier\":\"standard\"}}");
    return out + KeepAlive();
  }

  std::string Add(int64_t choice, const Part& part) override {
    FATHOM_CHECK_EQ(choice, 0);
    std::string out;
    const chat::Delta& delta = part.delta;
    switch (delta.kind) {
      case chat::Delta::Kind::kReasoning:
        Enter(out, BlockKind::kThinking);
        break;
      case chat::Delta::Kind::kContent:
        Enter(out, BlockKind::kText);
        break;
      case chat::Delta::Kind::kToolCallStart:
        OpenCall(out, delta.text);
        return out;
      case chat::Delta::Kind::kToolCallArguments:
        FATHOM_CHECK(is_open_ && blocks_.back().kind == BlockKind::kToolUse);
        break;
    }
    if (streams_) {
      out += delta_head_;
      AppendJsonString(out, delta.text);
      out += "}}\n\n";
    } else {
      blocks_.back().text += delta.text;
    }
    return out;
  }

  std::string EndChoice(int64_t choice, const End& end, const Usage&) override {
    FATHOM_CHECK_EQ(choice, 0);
    std::string out;
    SettleThinking(out, BlockKind::kText);
    CloseBlock(out);
    end_ = end;
    return out;
  }

  std::string Finish(const Usage& usage) override {
    const std::string stop_reason = JsonString(StopReason());
    const std::string stop_sequence =
        end_.reason == End::Reason::kStopString ? JsonString(end_.stop_string) : "null";
    if (!streams_)
      return OpenMessage(WriteBlocks(), stop_reason, stop_sequence) + OpenUsage(usage) +
             ",\"service_tier\":\"standard\"}}";
    std::string out;
    AppendEvent(out, "message_delta",
                fmt::format(",\"delta\":{{\"stop_reason\":{},\"stop_sequence\":{}}},\"usage\":{}}}",
                            stop_reason, stop_sequence, OpenUsage(usage)));
    AppendEvent(out, "message_stop", "");
    return out;
  }

  std::string Fail(const ApiError& error) override {
    const std::string body = WriteError(error, Dialect::kAnthropic, identity_.id);
    return streams_ ? "event: error\ndata: " + body + "\n\n" : body;
  }

  std::string KeepAlive() const override { return "event: ping\ndata: {\"type\":\"ping\"}\n\n"; }

  const std::vector<std::string>& CallIds(int64_t choice) const override {
    FATHOM_CHECK_EQ(choice, 0);
    return call_ids_;
  }

 private:
  // The message object up to its usage, which the caller appends with the closing brace.
  std::string OpenMessage(std::string_view content, std::string_view stop_reason,
                          std::string_view stop_sequence) const {
    return fmt::format(
        "{{\"id\":{},\"type\":\"message\",\"role\":\"assistant\",\"model\":{},\"content\":[{}],"
        "\"stop_reason\":{},\"stop_sequence\":{},\"usage\":",
        JsonString(id_), JsonString(model_), content, stop_reason, stop_sequence);
  }

  // Makes a block of this kind the open one.
  void Enter(std::string& out, BlockKind kind) {
    if (is_open_ && blocks_.back().kind == kind) return;
    SettleThinking(out, kind);
    CloseBlock(out);
    OpenBlock(out, {.kind = kind});
  }

  void OpenCall(std::string& out, const std::string& name) {
    SettleThinking(out, BlockKind::kToolUse);
    CloseBlock(out);
    call_ids_.push_back("toolu_" + IdTail(identity_, "toolu", std::ssize(call_ids_)));
    OpenBlock(out, {.kind = BlockKind::kToolUse, .id = call_ids_.back(), .name = name});
  }

  // A model that thinks owes a thinking block, if only an empty one: clients must have something to
  // send back.
  void SettleThinking(std::string& out, BlockKind next) {
    if (!std::exchange(owes_thinking_, false) || next == BlockKind::kThinking) return;
    OpenBlock(out, {.kind = BlockKind::kThinking});
    CloseBlock(out);
  }

  void OpenBlock(std::string& out, Block block) {
    is_open_ = true;
    ++block_index_;
    if (!streams_) {
      blocks_.push_back(std::move(block));
      return;
    }
    std::string_view delta;
    std::string start;
    switch (block.kind) {
      case BlockKind::kThinking:
        start = R"({"type":"thinking","thinking":"","signature":""})";
        delta = R"({"type":"thinking_delta","thinking":)";
        break;
      case BlockKind::kText:
        start = R"({"type":"text","text":""})";
        delta = R"({"type":"text_delta","text":)";
        break;
      case BlockKind::kToolUse:
        start = fmt::format(R"({{"type":"tool_use","id":{},"name":{},"input":{{}}}})",
                            JsonString(block.id), JsonString(block.name));
        delta = R"({"type":"input_json_delta","partial_json":)";
        break;
    }
    AppendEvent(out, "content_block_start",
                fmt::format(",\"index\":{},\"content_block\":{}", block_index_, start));
    delta_head_ = fmt::format(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{},"
        "\"delta\":{}",
        block_index_, delta);
    blocks_.assign(1, std::move(block));  // a stream remembers the open one only
  }

  void CloseBlock(std::string& out) {
    if (!std::exchange(is_open_, false) || !streams_) return;
    if (blocks_.back().kind == BlockKind::kThinking)
      AppendEvent(out, "content_block_delta",
                  fmt::format(R"(,"index":{},"delta":{{"type":"signature_delta","signature":{}}})",
                              block_index_, JsonString(id_)));
    AppendEvent(out, "content_block_stop", fmt::format(",\"index\":{}", block_index_));
  }

  std::string WriteBlocks() const {
    int64_t left_out = -1;  // the call that was cut off
    for (int64_t i = 0; end_.has_partial_call && i < std::ssize(blocks_); ++i)
      if (blocks_[i].kind == BlockKind::kToolUse) left_out = i;
    std::string out;
    for (int64_t i = 0; i < std::ssize(blocks_); ++i) {
      if (i == left_out) continue;
      if (!out.empty()) out += ',';
      out += WriteBlock(blocks_[i]);
    }
    return out;
  }

  std::string WriteBlock(const Block& block) const {
    switch (block.kind) {
      case BlockKind::kThinking:
        return fmt::format(R"({{"type":"thinking","thinking":{},"signature":{}}})",
                           JsonString(block.text), JsonString(id_));
      case BlockKind::kText:
        return fmt::format(R"({{"type":"text","text":{}}})", JsonString(block.text));
      case BlockKind::kToolUse:
        break;
    }
    // The arguments are JSON already and keep their spelling. Were they none, an empty object is
    // what clients can still read.
    const auto input = chat::ParsePythonJson(block.text, {.reject_constants = true});
    const bool is_object = input.ok() && input.value().is_object();
    return fmt::format(R"({{"type":"tool_use","id":{},"name":{},"input":{}}})",
                       JsonString(block.id), JsonString(block.name), is_object ? block.text : "{}");
  }

  std::string_view StopReason() const {
    if (end_.reason == End::Reason::kContextFull && wants_context_exceeded_)
      return "model_context_window_exceeded";
    if (end_.has_partial_call) return "max_tokens";
    switch (end_.reason) {
      case End::Reason::kStop:
        return "end_turn";
      case End::Reason::kStopString:
        return "stop_sequence";
      case End::Reason::kToolCalls:
        return "tool_use";
      case End::Reason::kLength:
      case End::Reason::kContextFull:
      case End::Reason::kAborted:  // the dialect has no word for it but "cut off"
        break;
    }
    return "max_tokens";
  }

  const Identity identity_;
  const std::string id_;
  const std::string model_;
  const bool streams_;
  const bool wants_context_exceeded_;
  bool owes_thinking_;

  bool is_open_ = false;       // blocks_.back()
  int64_t block_index_ = -1;   // of the latest block
  std::vector<Block> blocks_;  // all of a whole body; of a stream the latest
  std::string delta_head_;     // of the open block's delta events, up to the text
  std::vector<std::string> call_ids_;
  End end_;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeMessagesWriter(const Request& request, const Identity& identity) {
  return std::make_unique<MessagesWriter>(request, identity);
}

}  // namespace fathom::api
