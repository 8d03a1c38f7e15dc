// Plain searches: stop strings are few and short, and what is held back is shorter than the
// longest.
#include "chat/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace fathom::chat {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, "");
}

std::string StopMatcher::Add(std::string_view text) {
  if (hit_) return "";
  if (stops_.empty()) return std::string(text);
  held_ += text;
  size_t match_begin = held_.npos, match_end = held_.npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == held_.npos) continue;
    const size_t end = begin + stop.size();
    if (end < match_end || (end == match_end && begin < match_begin))
      match_begin = begin, match_end = end, found_ = stop;
  }
  if (match_end != held_.npos) {
    hit_ = true;
    held_.resize(match_begin);
    return std::exchange(held_, "");
  }
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > hold; --n)
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) hold = n;
  }
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace fathom::chat
