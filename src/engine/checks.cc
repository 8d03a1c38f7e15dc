#include "engine/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace fathom::engine {
namespace {

// More threads than any machine has cores; a larger number is a slip of the finger.
constexpr int kThreadsMax = 4096;

}  // namespace

Result<SessionOptions> Resolve(SessionOptions options, const model::Config& config) {
  if (options.threads < 0 || options.threads > kThreadsMax)
    return Error{fmt::format("threads: expected 0 to {}, found {}", kThreadsMax, options.threads)};
  if (options.chunk_tokens < 1)
    return Error{fmt::format("chunk: expected at least 1 token, found {}", options.chunk_tokens)};
  if (!options.path) options.path = kernels::BestPath();
  if (!kernels::IsAvailable(*options.path))
    return Error{
        fmt::format("path: this machine cannot run {}", std::string(kernels::Name(*options.path)))};
  const int64_t longest = config.max_position_embeddings;
  if (options.capacity_tokens == 0) options.capacity_tokens = longest;
  if (options.capacity_tokens < 1 || options.capacity_tokens > longest)
    return Error{fmt::format("context: expected 1 to {} tokens (max_position_embeddings), found {}",
                             longest, options.capacity_tokens)};
  // A pass never holds more rows than the sequence.
  options.chunk_tokens = std::min(options.chunk_tokens, options.capacity_tokens);
  return options;
}

Result<void> CheckIds(const char* what, std::span<const TokenId> ids, int64_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab_size)
      return Error{fmt::format("{} {}: expected an id below {} (vocab_size), found {}", what, i,
                               vocab_size, ids[i])};
  }
  return {};
}

Result<void> CheckPrompt(std::span<const TokenId> prompt, int64_t capacity, int64_t vocab_size) {
  if (prompt.empty()) return Error{"prompt: expected at least one token, found none"};
  if (std::ssize(prompt) > capacity)
    return Error{fmt::format("prompt: expected at most {} tokens (the context), found {}", capacity,
                             prompt.size())};
  return CheckIds("prompt token", prompt, vocab_size);
}

Result<void> CheckMaxTokens(std::optional<int64_t> max_tokens, int64_t prompt_tokens,
                            int64_t capacity) {
  if (!max_tokens) return {};
  if (*max_tokens < 1)
    return Error{fmt::format("max tokens: expected at least 1, found {}", *max_tokens)};
  const int64_t room = capacity - prompt_tokens;
  if (*max_tokens > room)
    return Error{
        fmt::format("max tokens: expected at most {} (a context of {} less {} prompt tokens), "
                    "found {}",
                    room, capacity, prompt_tokens, *max_tokens)};
  return {};
}

}  // namespace fathom::engine
