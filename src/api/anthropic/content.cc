// Blocks by their type. A user message falls apart into texts and tool results in the order given;
// an assistant message becomes one turn. Unknown kinds of blocks are skipped, as are those of tools
// that ran on Anthropic's servers; strict refuses what it does not know.
#include "api/anthropic/content.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "api/common.h"
#include "api/turn_list.h"

namespace fathom::api {
namespace {

using chat::ContentPart;

// Claude Code's first system block: it changes with every request and would keep everything after
// it from being reused.
constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

Parsed<std::string> ReadType(const Field& block) {
  FATHOM_TRY_VOID(block.Object("struct ContentBlock"));
  const Field type = block["type"];
  FATHOM_TRY(std::string name, type.String());
  static const std::vector<std::string_view> kKnown = {"text",
                                                       "image",
                                                       "document",
                                                       "search_result",
                                                       "thinking",
                                                       "redacted_thinking",
                                                       "tool_use",
                                                       "tool_result",
                                                       "server_tool_use",
                                                       "web_search_tool_result"};
  if (type.is_strict() && std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
    return type.UnknownVariant(kKnown);
  return name;
}

// Texts of the text blocks of a list, or a string alone.
Parsed<std::vector<std::string>> ReadTexts(const Field& content) {
  std::vector<std::string> texts;
  if (content.json().is_string()) {
    texts.push_back(content.json().string());
    return texts;
  }
  FATHOM_TRY(const auto blocks, content.OptItems());
  for (const Field& block : blocks) {
    FATHOM_TRY(const std::string type, ReadType(block));
    if (type != "text") continue;
    FATHOM_TRY(texts.emplace_back(), block["text"].String());
  }
  return texts;
}

// A document or search result: its text, if it has one.
Parsed<ContentPart> ReadDocument(const Field& block, std::string_view type) {
  if (type == "search_result") {
    FATHOM_TRY(const auto texts, ReadTexts(block["content"]));
    return ContentPart::Text(JoinTexts(texts));
  }
  const Field source = block["source"];
  const Json& kind = source["type"].json();
  if (kind == Json("text") && source["data"].json().is_string())
    return ContentPart::Text(source["data"].json().string());
  if (kind == Json("content")) {
    FATHOM_TRY(const auto texts, ReadTexts(source["content"]));
    return ContentPart::Text(JoinTexts(texts));
  }
  return ContentPart::Text(Unsupported("document"));
}

class Reader {
 public:
  explicit Reader(const Facts& facts) : facts_(facts) {}

  Parsed<Content> Read(const Field& system, const Field& messages) && {
    if (system.has_value()) {
      FATHOM_TRY_VOID(ReadSystem(system));
    }
    FATHOM_TRY(const auto items, messages.Items());
    out_.is_empty = items.empty();
    for (const Field& message : items) {
      FATHOM_TRY_VOID(message.Object("struct Message"));
      FATHOM_TRY(const int64_t role, message["role"].Variant({"user", "assistant", "system"}));
      const Field content = message["content"];
      if (content.is_absent()) return content.Missing();
      const bool is_readable = content.json().is_string() || content.json().is_array() ||
                               (content.json().is_null() && !content.is_strict());
      if (!is_readable) return content.WrongType("a string or a sequence of content blocks");
      FATHOM_TRY_VOID(role == 0   ? ReadUser(content)
                      : role == 1 ? ReadAssistant(content)
                                  : ReadSystem(content));
    }
    out_.turns = std::move(turns_.turns());
    return std::move(out_);
  }

 private:
  Parsed<void> ReadSystem(const Field& content) {
    FATHOM_TRY(auto texts, ReadTexts(content));
    if (content.json().is_array())
      std::erase_if(texts,
                    [](const std::string& text) { return text.starts_with(kBillingHeader); });
    if (!texts.empty()) turns_.AddSystem(JoinTexts(texts));
    return {};
  }

  Parsed<void> ReadUser(const Field& content) {
    if (!content.json().is_array()) {
      turns_.AddUser({ContentPart::Text(content.json().is_string() ? content.json().string()
                                                                   : std::string())});
      return {};
    }
    FATHOM_TRY(const auto blocks, content.Items());
    std::vector<ContentPart> parts;
    bool has_result = false;
    for (const Field& block : blocks) {
      FATHOM_TRY(const std::string type, ReadType(block));
      if (type != "tool_result") {
        FATHOM_TRY_VOID(ReadPart(block, type, parts));
        continue;
      }
      has_result = true;
      if (!parts.empty()) turns_.AddUser(std::exchange(parts, {}));
      FATHOM_TRY(std::string id, block["tool_use_id"].String());
      FATHOM_TRY(auto result, ReadResult(block["content"]));
      turns_.AddResult(std::move(id), std::move(result));
    }
    if (!parts.empty() || !has_result) turns_.AddUser(std::move(parts));
    return {};
  }

  // What a user's message may hold beside results.
  Parsed<void> ReadPart(const Field& block, std::string_view type,
                        std::vector<ContentPart>& parts) {
    if (type == "text") {
      FATHOM_TRY(std::string text, block["text"].String());
      parts.push_back(ContentPart::Text(std::move(text)));
    } else if (type == "image") {
      out_.has_image = true;
      parts.push_back(ImagePart(facts_));
    } else if (type == "document" || type == "search_result") {
      FATHOM_TRY(parts.emplace_back(), ReadDocument(block, type));
    }
    return {};
  }

  Parsed<std::vector<ContentPart>> ReadResult(const Field& content) {
    std::vector<ContentPart> parts;
    if (content.json().is_string()) {
      parts.push_back(ContentPart::Text(content.json().string()));
      return parts;
    }
    FATHOM_TRY(const auto blocks, content.OptItems());
    for (const Field& block : blocks) {
      FATHOM_TRY(const std::string type, ReadType(block));
      if (type == "image") {
        parts.push_back(ImagePart(facts_));
      } else {
        FATHOM_TRY_VOID(ReadPart(block, type, parts));
      }
    }
    return parts;
  }

  Parsed<void> ReadAssistant(const Field& content) {
    turns_.Assistant();
    if (content.json().is_string()) turns_.AddAssistantText(content.json().string());
    if (!content.json().is_array()) return {};
    FATHOM_TRY(const auto blocks, content.Items());
    std::vector<std::string> texts;
    for (const Field& block : blocks) {
      FATHOM_TRY(const std::string type, ReadType(block));
      if (type == "text") {
        FATHOM_TRY(texts.emplace_back(), block["text"].String());
      } else if (type == "thinking") {
        FATHOM_TRY(const std::string thinking, block["thinking"].String());
        turns_.AddReasoning(thinking);
      } else if (type == "tool_use") {
        FATHOM_TRY_VOID(ReadCall(block));
      }
    }
    turns_.AddAssistantText(JoinTexts(texts));
    return {};
  }

  Parsed<void> ReadCall(const Field& block) {
    chat::ToolCall call;
    FATHOM_TRY(call.id, block["id"].String());
    FATHOM_TRY(call.name, block["name"].String());
    const Field input = block["input"];
    if (input.is_strict()) {
      FATHOM_TRY_VOID(input.Object());
    }
    call.arguments = input.has_value() ? WriteJson(input.json()) : "{}";
    turns_.Assistant().message.tool_calls.push_back(std::move(call));
    return {};
  }

  const Facts& facts_;
  TurnList turns_;
  Content out_;
};

}  // namespace

Parsed<Content> ReadContent(const Field& system, const Field& messages, const Facts& facts) {
  return Reader(facts).Read(system, messages);
}

}  // namespace fathom::api
