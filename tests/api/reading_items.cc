// Answers made of blocks (Anthropic) and items (Responses).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/api/reading.h"

namespace fathom::conformance {
namespace {

using Strings = std::vector<std::string>;

// Anthropic
// -----------------------------------------------------------------------------------------

void ReadMessageUsage(const Json& usage, Answer& answer) {
  answer.cached_tokens = IntAt(usage, "cache_read_input_tokens");
  answer.prompt_tokens = IntAt(usage, "input_tokens") + answer.cached_tokens;
  answer.completion_tokens = IntAt(usage, "output_tokens");
  EXPECT_EQ(IntAt(usage, "cache_creation_input_tokens"), 0);
}

// `arguments` are the input's own text.
void AddBlock(const Json& block, std::string arguments, Answer& answer) {
  const std::string type = TextAt(block, "type");
  if (type == "thinking") {
    EXPECT_FALSE(answer.has_reasoning) << "a second thinking block";
    EXPECT_TRUE(answer.content.empty() && answer.calls.empty()) << "thinking comes first";
    EXPECT_NE(TextAt(block, "signature"), "");
    answer.has_reasoning = true;
    answer.reasoning = TextAt(block, "thinking");
  } else if (type == "text") {
    EXPECT_NE(TextAt(block, "text"), "");
    answer.content += TextAt(block, "text");
  } else {
    EXPECT_EQ(type, "tool_use");
    EXPECT_TRUE(TextAt(block, "id").starts_with("toolu_"));
    answer.calls.push_back({TextAt(block, "id"), TextAt(block, "name"), std::move(arguments)});
  }
}

Answer ReadMessageHead(const Json& message) {
  EXPECT_EQ(Names(message), (Strings{"id", "type", "role", "model", "content", "stop_reason",
                                     "stop_sequence", "usage"}));
  EXPECT_EQ(TextAt(message, "type"), "message");
  EXPECT_EQ(TextAt(message, "role"), "assistant");
  EXPECT_EQ(TextAt(message, "usage.service_tier"), "standard");
  Answer answer;
  answer.id = TextAt(message, "id");
  EXPECT_TRUE(answer.id.starts_with("msg_"));
  answer.model = TextAt(message, "model");
  return answer;
}

void ReadStop(const Json& holder, Answer& answer) {
  answer.end = TextAt(holder, "stop_reason");
  EXPECT_NE(holder.Find("stop_sequence"), nullptr);
  const Json sequence = At(holder, "stop_sequence");
  if (!sequence.is_null()) answer.stop_sequence = sequence.string();
  EXPECT_EQ(answer.end == "stop_sequence", !sequence.is_null());
}

// The events between `ping` and `message_delta`.
class BlockEvents {
 public:
  void Add(const Event& event, const Json& data, Answer& answer) {
    SCOPED_TRACE(event.data);
    if (event.name == "content_block_start") {
      EXPECT_FALSE(is_open_);
      EXPECT_EQ(IntAt(data, "index"), ++index_);
      is_open_ = true;
      block_ = At(data, "content_block");
      arguments_.clear();
      const std::string type = TextAt(block_, "type");
      if (type == "tool_use") {
        EXPECT_EQ(WriteJson(At(block_, "input")), "{}");
      }
      if (type == "text") {
        EXPECT_EQ(TextAt(block_, "text"), "");
      }
      if (type == "thinking") {
        EXPECT_EQ(TextAt(block_, "thinking"), "");
      }
      return;
    }
    EXPECT_TRUE(is_open_);
    EXPECT_EQ(IntAt(data, "index"), index_);
    if (event.name == "content_block_stop") {
      is_open_ = false;
      AddBlock(block_, arguments_, answer);
      return;
    }
    ASSERT_EQ(event.name, "content_block_delta");
    AddDelta(At(data, "delta"));
  }
  bool is_open() const { return is_open_; }

 private:
  void AddDelta(const Json& delta) {
    const std::string type = TextAt(delta, "type");
    const std::string kind = TextAt(block_, "type");
    if (type == "input_json_delta") {
      EXPECT_EQ(kind, "tool_use");
      arguments_ += TextAt(delta, "partial_json");
      return;
    }
    const std::string member = type.substr(0, type.find('_'));
    EXPECT_TRUE(type == "thinking_delta" || type == "signature_delta" || type == "text_delta");
    EXPECT_EQ(kind, type == "text_delta" ? "text" : "thinking");
    if (kind == "thinking") {
      EXPECT_EQ(TextAt(block_, "signature"), "") << "the signature is last";
    }
    block_.Set(member, TextAt(block_, member) + TextAt(delta, member));
  }

  bool is_open_ = false;
  int64_t index_ = -1;
  Json block_;
  std::string arguments_;
};

Answer ReadMessageStream(const std::vector<Event>& events) {
  Answer answer;
  BlockEvents blocks;
  Strings ends;
  for (size_t i = 0; i < events.size(); ++i) {
    const Json data = Parse(events[i].data);
    const std::string& name = events[i].name;
    EXPECT_EQ(TextAt(data, "type"), name);
    if (i == 0) {
      EXPECT_EQ(name, "message_start");
      answer = ReadMessageHead(At(data, "message"));
      EXPECT_EQ(WriteJson(At(data, "message.content")), "[]");
      EXPECT_TRUE(At(data, "message.stop_reason").is_null());
      ReadMessageUsage(At(data, "message.usage"), answer);
    } else if (name == "ping") {
      EXPECT_EQ(events[i].data, R"({"type":"ping"})");
    } else if (name.starts_with("content_block")) {
      EXPECT_TRUE(ends.empty());
      blocks.Add(events[i], data, answer);
    } else {
      ends.push_back(name);
      if (name != "message_delta") continue;
      const int64_t prompt_tokens = answer.prompt_tokens;
      ReadStop(At(data, "delta"), answer);
      ReadMessageUsage(At(data, "usage"), answer);
      EXPECT_EQ(answer.prompt_tokens, prompt_tokens);
    }
  }
  EXPECT_GT(events.size(), 1u);
  if (events.size() > 1) {
    EXPECT_EQ(events[1].name, "ping");
  }
  EXPECT_FALSE(blocks.is_open());
  EXPECT_EQ(ends, (Strings{"message_delta", "message_stop"}));
  return answer;
}

// Arguments are written by the model with a space after each comma and colon.
Answer ReadMessageBody(const Json& body) {
  Answer answer = ReadMessageHead(body);
  const Json content = At(body, "content");
  for (const Json& block : content.array())
    AddBlock(block, WriteJson(At(block, "input"), {.item_separator = ", ", .name_separator = ": "}),
             answer);
  ReadStop(body, answer);
  ReadMessageUsage(At(body, "usage"), answer);
  return answer;
}

// Responses
// -----------------------------------------------------------------------------------------

void AddItem(const Json& item, Answer& answer) {
  const std::string type = TextAt(item, "type");
  const std::string id = TextAt(item, "id");
  if (type == "reasoning") {
    EXPECT_TRUE(id.starts_with("rs_"));
    EXPECT_TRUE(answer.content.empty() && answer.calls.empty()) << "reasoning comes first";
    EXPECT_EQ(WriteJson(At(item, "summary")), "[]");
    EXPECT_TRUE(item.Find("encrypted_content") != nullptr);
    EXPECT_EQ(TextAt(item, "content.0.type"), "reasoning_text");
    answer.has_reasoning = true;
    answer.reasoning += TextAt(item, "content.0.text");
  } else if (type == "message") {
    EXPECT_TRUE(id.starts_with("msg_"));
    EXPECT_EQ(TextAt(item, "role"), "assistant");
    EXPECT_EQ(TextAt(item, "content.0.type"), "output_text");
    EXPECT_EQ(WriteJson(At(item, "content.0.annotations")), "[]");
    const Json logprobs = At(item, "content.0.logprobs");
    for (const Json& entry : logprobs.array()) answer.logprobs.push_back(entry);
    answer.content += TextAt(item, "content.0.text");
  } else {
    const bool is_custom = type == "custom_tool_call";
    EXPECT_EQ(type, is_custom ? type : "function_call");
    EXPECT_TRUE(id.starts_with(is_custom ? "ctc_" : "fc_"));
    EXPECT_TRUE(TextAt(item, "call_id").starts_with("call_"));
    answer.calls.push_back({TextAt(item, "call_id"), TextAt(item, "name"),
                            TextAt(item, is_custom ? "input" : "arguments")});
  }
}

Answer ReadResponseBody(const Json& body) {
  for (const char* name : {"background",
                           "completed_at",
                           "error",
                           "incomplete_details",
                           "instructions",
                           "max_output_tokens",
                           "max_tool_calls",
                           "parallel_tool_calls",
                           "previous_response_id",
                           "reasoning",
                           "safety_identifier",
                           "service_tier",
                           "store",
                           "temperature",
                           "text",
                           "tool_choice",
                           "tools",
                           "top_logprobs",
                           "top_p",
                           "truncation",
                           "user",
                           "metadata"})
    EXPECT_NE(body.Find(name), nullptr) << name;
  EXPECT_EQ(TextAt(body, "object"), "response");
  EXPECT_EQ(WriteJson(At(body, "store")), "false");
  Answer answer;
  answer.id = TextAt(body, "id");
  EXPECT_TRUE(answer.id.starts_with("resp_"));
  answer.model = TextAt(body, "model");
  const Json output = At(body, "output");
  for (const Json& item : output.array()) AddItem(item, answer);
  answer.end = TextAt(body, "status");
  if (answer.end == "incomplete") answer.end += " " + TextAt(body, "incomplete_details.reason");
  const Json usage = At(body, "usage");
  answer.prompt_tokens = IntAt(usage, "input_tokens");
  answer.cached_tokens = IntAt(usage, "input_tokens_details.cached_tokens");
  answer.completion_tokens = IntAt(usage, "output_tokens");
  answer.reasoning_tokens = IntAt(usage, "output_tokens_details.reasoning_tokens");
  EXPECT_EQ(IntAt(usage, "total_tokens"), answer.prompt_tokens + answer.completion_tokens);
  return answer;
}

// The events of one item after another.
class ItemEvents {
 public:
  void Add(const std::string& name, const Json& data) {
    SCOPED_TRACE(WriteJson(data));
    if (name == "response.output_item.added") {
      Open(At(data, "item"));
      EXPECT_EQ(IntAt(data, "output_index"), std::ssize(done_));
      return;
    }
    EXPECT_TRUE(is_open_);
    EXPECT_EQ(IntAt(data, "output_index"), std::ssize(done_));
    if (name == "response.output_item.done") {
      Close(At(data, "item"));
      return;
    }
    EXPECT_EQ(TextAt(data, "item_id"), TextAt(item_, "id"));
    if (HasParts()) {
      EXPECT_EQ(IntAt(data, "content_index"), 0);
    }
    if (name == Word() + ".delta") {
      text_ += TextAt(data, "delta");
      if (TextAt(item_, "type") == "message") {
        EXPECT_NE(data.Find("logprobs"), nullptr);
      }
    } else if (name == Word() + ".done") {
      EXPECT_EQ(TextAt(data, TextMember()), text_);
      steps_ += "text ";
    } else {
      EXPECT_TRUE(name == "response.content_part.added" || name == "response.content_part.done");
      steps_ += name == "response.content_part.added" ? "added " : "done ";
      EXPECT_EQ(TextAt(data, "part.text"), text_);
    }
  }
  // What the items said when they were done.
  Json::Array Take() {
    EXPECT_FALSE(is_open_) << "an item without its done";
    return std::move(done_);
  }

 private:
  bool HasParts() const {
    const std::string type = TextAt(item_, "type");
    return type == "reasoning" || type == "message";
  }
  std::string Word() const {
    const std::string type = TextAt(item_, "type");
    if (type == "reasoning") return "response.reasoning_text";
    if (type == "message") return "response.output_text";
    return type == "function_call" ? "response.function_call_arguments"
                                   : "response.custom_tool_call_input";
  }
  std::string TextMember() const {
    const std::string type = TextAt(item_, "type");
    return HasParts() ? "text" : type == "function_call" ? "arguments" : "input";
  }

  void Open(Json item) {
    EXPECT_FALSE(is_open_);
    is_open_ = true;
    item_ = std::move(item);
    text_.clear();
    steps_.clear();
    EXPECT_EQ(TextAt(item_, "status"), "in_progress");
    if (HasParts()) {
      EXPECT_EQ(WriteJson(At(item_, "content")), "[]");
    } else {
      EXPECT_EQ(TextAt(item_, TextMember()), "");
    }
  }

  void Close(const Json& item) {
    EXPECT_EQ(steps_, HasParts() ? "added text done " : "text ");
    EXPECT_EQ(TextAt(item, "id"), TextAt(item_, "id"));
    EXPECT_EQ(TextAt(item, HasParts() ? "content.0.text" : TextMember()), text_);
    is_open_ = false;
    done_.push_back(item);
  }

  bool is_open_ = false;
  Json item_;
  std::string text_, steps_;
  Json::Array done_;
};

Answer ReadResponseStream(const std::vector<Event>& events) {
  ItemEvents items;
  Answer answer;
  Json last;
  for (size_t i = 0; i < events.size(); ++i) {
    const Json data = Parse(events[i].data);
    const std::string& name = events[i].name;
    EXPECT_EQ(TextAt(data, "type"), name);
    EXPECT_EQ(IntAt(data, "sequence_number"), static_cast<int64_t>(i));
    if (i < 2) {
      EXPECT_EQ(name, i == 0 ? "response.created" : "response.in_progress");
      EXPECT_EQ(TextAt(data, "response.status"), "in_progress");
      EXPECT_EQ(WriteJson(At(data, "response.output")), "[]");
      answer.id = TextAt(data, "response.id");
    } else if (i + 1 < events.size()) {
      items.Add(name, data);
    } else {
      last = At(data, "response");
      EXPECT_EQ(name, "response." + TextAt(last, "status"));
    }
  }
  EXPECT_EQ(WriteJson(At(last, "output")), WriteJson(items.Take()));
  EXPECT_EQ(TextAt(last, "id"), answer.id);
  return ReadResponseBody(last);
}

bool AnsweredInStream(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.Header("content-type").starts_with("text/event-stream");
}

}  // namespace

Answer ReadMessage(const Reply& reply) {
  if (AnsweredInStream(reply)) return ReadMessageStream(ReadSse(reply.body));
  return reply.status == 200 ? ReadMessageBody(BodyOf(reply)) : Answer();
}

Answer ReadResponse(const Reply& reply) {
  if (AnsweredInStream(reply)) return ReadResponseStream(ReadSse(reply.body));
  return reply.status == 200 ? ReadResponseBody(BodyOf(reply)) : Answer();
}

}  // namespace fathom::conformance
