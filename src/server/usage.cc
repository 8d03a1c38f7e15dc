#include "server/usage.h"

#include <fmt/format.h>

#include "base/json.h"

namespace fathom::server {
namespace {

std::string Quoted(std::span<const TokenId> tokens, const tokenizer::Tokenizer& tokenizer) {
  const auto text = tokenizer.Decode(tokens);
  return JsonString(text.ok() ? text.value() : "?");
}

}  // namespace

std::string MissText(const cache::Miss& miss, const tokenizer::Tokenizer& tokenizer) {
  using Reason = cache::Miss::Reason;
  switch (miss.reason) {
    case Reason::kNone:
      return "";
    case Reason::kCold:
      return "cold";
    case Reason::kEvicted:
      return "evicted";
    case Reason::kDiverged:
      return fmt::format("diverged at token {} ({} stored, {} wanted)", miss.position,
                         Quoted(miss.stored, tokenizer), Quoted(miss.wanted, tokenizer));
    case Reason::kOtherKey:
      return "other key";
    case Reason::kDisabled:
      return "disabled";
  }
  return "";
}

}  // namespace fathom::server
