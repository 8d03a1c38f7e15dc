// The head is compared with what chat/call_writer.cc writes; any other spelling waits for its end
// and is parsed whole. An escape is decoded when it is complete, a pair of surrogates as one.
#include "api/responses/custom_input.h"

#include <charconv>
#include <optional>

#include "base/json.h"

namespace fathom::api {
namespace {

constexpr std::string_view kHead = "{\"input\": \"";

// How many bytes the escape sequence at the front of the text takes; nullopt: more must come.
std::optional<size_t> EscapeBytes(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  if (text[1] != 'u') return 2;
  constexpr size_t kUnit = 6;  // \uXXXX
  if (text.size() < kUnit) return std::nullopt;
  const bool is_high = (text[2] == 'd' || text[2] == 'D') && text[3] != '\0' &&
                       std::string_view("89abAB").find(text[3]) != std::string_view::npos;
  if (!is_high) return kUnit;
  const std::string_view next = text.substr(kUnit);
  if (!std::string_view("\\u").starts_with(next.substr(0, 2))) return kUnit;  // a lone one
  if (next.size() < kUnit) return std::nullopt;
  return 2 * kUnit;
}

// The text of escape sequences; one without a meaning becomes the replacement character.
std::string Unescape(std::string_view escapes) {
  const auto json = ParseJson('"' + std::string(escapes) + '"');
  return json.ok() ? json.value().string() : "\ufffd";
}

}  // namespace

std::string CustomInput::Add(std::string_view arguments) {
  if (state_ == State::kDone) return {};
  pending_ += arguments;
  if (state_ == State::kHead) {
    const std::string_view front = std::string_view(pending_).substr(0, kHead.size());
    if (!kHead.starts_with(front)) state_ = State::kOther;
    if (front.size() == kHead.size() && front == kHead) {
      state_ = State::kString;
      pending_.erase(0, kHead.size());
    }
  }
  return state_ == State::kString ? Decode() : std::string();
}

std::string CustomInput::Decode() {
  std::string out;
  size_t at = 0;
  const std::string_view text = pending_;
  while (at < text.size()) {
    const size_t stop = std::min(text.find_first_of("\"\\", at), text.size());
    out += text.substr(at, stop - at);
    at = stop;
    if (at == text.size()) break;
    if (text[at] == '"') {
      state_ = State::kDone;
      pending_.clear();
      return out;
    }
    const auto bytes = EscapeBytes(text.substr(at));
    if (!bytes) break;
    out += Unescape(text.substr(at, *bytes));
    at += *bytes;
  }
  pending_.erase(0, at);
  return out;
}

std::string CustomInput::Finish() {
  const State state = std::exchange(state_, State::kDone);
  if (state == State::kDone || state == State::kString) return {};  // half an escape is nothing
  const auto json = ParseJson(pending_);
  if (json.ok() && json.value().is_object()) {
    const Json* input = json.value().Find("input");
    if (input != nullptr && input->is_string()) return input->string();
    if (json.value().object().empty()) return {};
  }
  // What was cut off before its value began has nothing to show.
  return kHead.starts_with(pending_) ? std::string() : pending_;
}

}  // namespace fathom::api
