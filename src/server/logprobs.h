// Which token's log-probability belongs to which piece of text. The parser holds text back and
// swallows markup, so tokens wait here until their text comes out; those whose text never does are
// dropped.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "sampling/sampler.h"
#include "tokenizer/tokenizer.h"

namespace fathom::server {

// One token as it is shown.
api::LogprobEntry::Alternative ShowToken(const tokenizer::Tokenizer& tokenizer, TokenId token,
                                         double logprob);

class LogprobQueue {
 public:
  void Push(api::LogprobEntry entry) { waiting_.push_back({std::move(entry), 0}); }
  // The entries of tokens whose text begins in `text`, which has just come out.
  std::vector<api::LogprobEntry> Take(std::string_view text);
  // What waits was markup.
  void Drop() { waiting_.clear(); }

 private:
  struct Waiting {
    api::LogprobEntry entry;
    size_t shown_bytes;
  };
  std::deque<Waiting> waiting_;
};

}  // namespace fathom::server
