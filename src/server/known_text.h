// The token ids behind text that the model wrote. A client sends an answer back as text; tokenized
// again it may cut differently from the tokens that were sampled, and then nothing of what the
// machine remembers would fit. So every answer's end is remembered: under the text of the prompt up
// to there, as the next prompt will spell it, the ids that stood for it. A prompt that begins with
// such a text takes those ids and tokenizes only the rest, which begins after an end-of-text token
// and therefore cuts the same alone.
//
// Bounded; the latest used stay. Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.h"

namespace fathom::server {

class KnownText {
 public:
  explicit KnownText(int64_t bytes_max);

  // A beginning of a text. Two sums under secret bases stand for it: texts that nobody chose with
  // the bases at hand meet with a chance of about 2^-100.
  struct Mark {
    uint64_t sums[2] = {0, 0};
    int64_t bytes = 0;  // 0: nothing
    bool operator==(const Mark&) const = default;
  };
  struct Found {
    Mark mark;                 // how much of the text is known
    std::vector<TokenId> ids;  // of that much
  };

  // The longest known beginning of `text` that ends with `end` (the end-of-text token's text).
  // `owner` separates whose texts they are.
  Found Find(std::string_view owner, std::string_view text, std::string_view end);
  // Remembers the ids of a whole text. `parent`: what Find gave for its beginning, whose ids these
  // begin with; only the rest is stored.
  void Remember(std::string_view owner, std::string_view text, std::span<const TokenId> ids,
                const Found& parent);

  int64_t bytes() const;

 private:
  struct Hash {
    size_t operator()(const Mark& mark) const { return static_cast<size_t>(mark.sums[0]); }
  };
  struct Entry {
    Mark mark, parent;
    std::vector<TokenId> ids;  // after the parent's
  };
  using Entries = std::list<Entry>;

  class Summer;
  Mark MarkOf(std::string_view owner, std::string_view text) const;
  std::optional<std::vector<TokenId>> IdsOf(const Mark& mark);

  const int64_t bytes_max_;
  uint64_t bases_[2];
  mutable std::mutex mutex_;
  int64_t bytes_ = 0;
  Entries entries_;  // latest used first
  std::unordered_map<Mark, Entries::iterator, Hash> index_;
};

}  // namespace fathom::server
