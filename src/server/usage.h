// What one request came to: the record that ends every request, whatever became of it. Keys, prices
// and metrics plug in here.
#pragma once

#include <string>

#include "api/answer.h"
#include "api/error.h"
#include "cache/prefix_tree.h"
#include "tokenizer/tokenizer.h"

namespace fathom::server {

struct UsageRecord {
  std::string request_id;
  std::string api_key;        // as sent; empty: none
  std::string isolation_key;  // user_id and the like
  std::string model;
  api::Dialect dialect = api::Dialect::kChat;
  int status = 200;     // 499: the client left
  std::string outcome;  // "stop", "length", "tool_calls", "cancelled", or the error's message
  api::Usage usage;
  std::string miss;     // why no more of the prompt came from the cache; empty: all that could
  double queued_s = 0;  // until its turn came
  double prompt_s = 0;  // until the first token
  double total_s = 0;
};

// Called from several threads at once; must not block.
class UsageSink {
 public:
  virtual ~UsageSink() = default;
  virtual void OnUsage(const UsageRecord& record) = 0;
};

// In a few words: "cold", "evicted", "other key", "disabled", or "diverged at token N" with the
// text around it, stored and wanted.
std::string MissText(const cache::Miss& miss, const tokenizer::Tokenizer& tokenizer);

}  // namespace fathom::server
