#include "tests/conversations/conversation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/api/reading.h"
#include "tests/api/requests.h"

namespace fathom::conversations {

using api::Dialect;
using conformance::At;
using conformance::TextAt;

namespace {

void Remove(Json& item, std::string_view name) {
  std::erase_if(item.object(), [&](const Json::Member& member) { return member.first == name; });
}

bool Has(const Json& item, std::string_view name, std::string_view value) {
  const Json* member = item.Find(name);
  return member != nullptr && *member == Json(value);
}

}  // namespace

std::string Conversation::Next(const Step& step) {
  Apply(step);
  turns_.push_back({items_.size(), pending_});
  AddInput(step);
  Json::Object more;
  if (plan_.dialect == Dialect::kChat) {
    Json::Array messages = {Json::Object{{"role", "system"}, {"content", system_}}};
    messages.insert(messages.end(), items_.begin(), items_.end());
    more = {{"messages", std::move(messages)}};
  } else if (plan_.dialect == Dialect::kAnthropic) {
    more = {{"system", system_}, {"messages", items_}};
  } else {
    more = {{"instructions", system_}, {"input", items_}};
  }
  return conformance::BodyFor(plan_.dialect, {.thinks = plan_.thinks,
                                              .has_tools = plan_.has_tools,
                                              .max_tokens = 600,
                                              .more = WriteJson(more)});
}

// What the client does to what is there.
void Conversation::Apply(const Step& step) {
  if (step.edit == Edit::kSystem) system_ += fmt::format(" Day {}.", step.random % 365);
  if (step.edit == Edit::kGoBack) {
    const size_t back = std::min<size_t>(1 + step.random % 3, turns_.size() - 1);
    const Turn turn = turns_[turns_.size() - back];
    turns_.resize(turns_.size() - back);
    items_.resize(turn.items);
    pending_ = turn.pending;
  }
  if (step.edit != Edit::kEarlierText) return;
  std::vector<Json*> texts;
  for (Json& item : items_)
    if (Has(item, "role", "user") && item.Find("content")->is_string()) texts.push_back(&item);
  // Mostly what was said lately.
  const size_t from = texts.size() > 6 ? texts.size() - 6 : 0;
  Json& item = *texts[from + step.random % (texts.size() - from)];
  item.Set("content", Edited(item.Find("content")->string(), step.random / 64));
}

void Conversation::AddInput(const Step& step) {
  if (pending_.empty()) {
    items_.push_back(Json::Object{{"role", "user"}, {"content", step.text}});
    return;
  }
  Json::Array results;
  for (size_t i = 0; i < pending_.size(); ++i)
    results.push_back(Result(pending_[i], step.results[i]));
  if (plan_.dialect == Dialect::kAnthropic) {
    items_.push_back(Json::Object{{"role", "user"}, {"content", std::move(results)}});
  } else {
    items_.insert(items_.end(), results.begin(), results.end());
  }
}

Json Conversation::Result(const std::string& id, const std::string& text) const {
  if (plan_.dialect == Dialect::kChat)
    return Json::Object{{"role", "tool"}, {"tool_call_id", id}, {"content", text}};
  if (plan_.dialect == Dialect::kAnthropic)
    return Json::Object{{"type", "tool_result"}, {"tool_use_id", id}, {"content", text}};
  return Json::Object{{"type", "function_call_output"}, {"call_id", id}, {"output", text}};
}

void Conversation::Take(const conformance::Reply& reply) {
  const conformance::Answer answer = conformance::Read(plan_.dialect, reply);
  pending_.clear();
  for (const conformance::Call& call : answer.calls) pending_.push_back(call.id);
  const Json body = conformance::BodyOf(reply);
  if (plan_.dialect == Dialect::kChat) {
    AddAnswerItem(At(body, "choices.0.message"));
  } else if (plan_.dialect == Dialect::kAnthropic) {
    AddAnswerItem(Json::Object{{"role", "assistant"}, {"content", At(body, "content")}});
  } else {
    const Json output = At(body, "output");
    for (const Json& item : output.array()) AddAnswerItem(item);
  }
}

void Conversation::AddAnswerItem(Json item) {
  const bool drops = plan_.client == Client::kDropsThought;
  const auto respell = [&](Json& holder, std::string_view name) {
    if (Json* value = holder.Find(name)) *value = Respelled(*value);
  };
  if (plan_.dialect == Dialect::kChat) {
    if (drops) Remove(item, "reasoning_content");
    if (Json* calls = item.Find("tool_calls"); calls != nullptr && calls->is_array())
      for (Json& call : calls->array()) respell(*call.Find("function"), "arguments");
  } else if (plan_.dialect == Dialect::kAnthropic) {
    Json::Array& blocks = item.Find("content")->array();
    if (drops) std::erase_if(blocks, [](const Json& b) { return Has(b, "type", "thinking"); });
    for (Json& block : blocks) respell(block, "input");
  } else {
    if (drops && Has(item, "type", "reasoning")) return;
    respell(item, "arguments");
  }
  items_.push_back(std::move(item));
}

Json Conversation::Respelled(const Json& arguments) const {
  if (plan_.client != Client::kRespells) return arguments;
  Json value = arguments.is_string() ? conformance::Parse(arguments.string()) : arguments;
  std::reverse(value.object().begin(), value.object().end());
  if (!arguments.is_string()) return value;
  return WriteJson(value, {.item_separator = " , ", .name_separator = " : "});
}

}  // namespace fathom::conversations
