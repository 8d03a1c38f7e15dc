#include "server/script.h"

#include <fmt/format.h>

#include "base/json.h"

namespace fathom::server {

Result<std::vector<std::pair<std::string, std::string>>> Script::Parse(std::string_view text,
                                                                       const std::string& where) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string place = fmt::format("{}:{}", where, number);
    auto json = ParseJson(line);
    if (!json.ok()) return std::move(json).error().In(place);
    FATHOM_TRY(std::string completion, GetString(json.value(), "completion", place));
    std::string match;
    if (const Json* member = json.value().Find("match"); member != nullptr) {
      if (!member->is_string())
        return Error{
            fmt::format("{}: match: expected a string, found {}", place, member->KindName())};
      match = member->string();
    }
    lines.emplace_back(std::move(match), std::move(completion));
  }
  return lines;
}

std::optional<std::string> Script::Take(std::string_view prompt) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < lines_.size(); ++i) {
    const auto& [match, completion] = lines_[i];
    if (is_used_[i] || (!match.empty() && prompt.find(match) == prompt.npos)) continue;
    is_used_[i] = true;
    return completion;
  }
  return std::nullopt;
}

}  // namespace fathom::server
