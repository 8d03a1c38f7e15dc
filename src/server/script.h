// Completions given in a file instead of sampled ones: a testing aid, so that tool loops and agents
// can be driven with any weights. The model still reads every token of them.
//
// One JSON object per line: {"match": "text the prompt must contain", "completion": "as the model
// would write it, tags included"}. Lines are used in order, each once: a request takes the first
// unused line whose match is absent or found in its prompt. In thinking mode a completion begins
// inside the reasoning.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom::server {

class Script {
 public:
  // Errors name the line.
  static Result<std::vector<std::pair<std::string, std::string>>> Parse(std::string_view text,
                                                                        const std::string& where);
  explicit Script(std::vector<std::pair<std::string, std::string>> lines)
      : lines_(std::move(lines)), is_used_(lines_.size()) {}

  // The completion for a prompt; nullopt when no line is left for it. From any thread.
  std::optional<std::string> Take(std::string_view prompt);

 private:
  const std::vector<std::pair<std::string, std::string>> lines_;  // match, completion
  std::mutex mutex_;
  std::vector<bool> is_used_;
};

}  // namespace fathom::server
