#include "server/logprobs.h"

#include <algorithm>
#include <utility>

namespace fathom::server {

api::LogprobEntry::Alternative ShowToken(const tokenizer::Tokenizer& tokenizer, TokenId token,
                                         double logprob) {
  api::LogprobEntry::Alternative shown;
  shown.logprob = logprob;
  if (!tokenizer.IsToken(token)) return shown;
  shown.text = tokenizer.TokenText(token);
  shown.bytes = tokenizer.TokenBytes(token);
  // The platform spells control tokens with doubled bars, so that nobody takes them for real ones.
  constexpr std::string_view kBar = "｜";
  if (tokenizer.IsAdded(token) && shown.text.find(kBar) != std::string::npos) {
    std::string doubled;
    for (std::string_view rest = shown.text; !rest.empty();) {
      const size_t length = rest.starts_with(kBar) ? kBar.size() : 1;
      if (length > 1) doubled += kBar;
      doubled += rest.substr(0, length);
      rest.remove_prefix(length);
    }
    shown.bytes = doubled;
    shown.text = std::move(doubled);
  }
  return shown;
}

std::vector<api::LogprobEntry> LogprobQueue::Take(std::string_view text) {
  std::vector<api::LogprobEntry> entries;
  while (!text.empty() && !waiting_.empty()) {
    Waiting& first = waiting_.front();
    const std::string_view bytes = first.entry.chosen.bytes;
    const std::string_view rest = bytes.substr(std::min(first.shown_bytes, bytes.size()));
    const size_t count = std::min(rest.size(), text.size());
    if (count == 0 || rest.substr(0, count) != text.substr(0, count)) {
      waiting_.pop_front();  // swallowed
      continue;
    }
    const bool is_whole = count == rest.size();
    if (first.shown_bytes == 0)
      entries.push_back(is_whole ? std::move(first.entry) : api::LogprobEntry(first.entry));
    first.shown_bytes += count;
    text.remove_prefix(count);
    if (is_whole) waiting_.pop_front();
  }
  return entries;
}

}  // namespace fathom::server
