#include "tests/schemas/walk.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

namespace fathom {
namespace {

constexpr TokenId kStop = 1;  // EOS in all our vocabularies

std::vector<TokenId> Listed(std::span<const uint64_t> mask) {
  std::vector<TokenId> ids;
  for (size_t word = 0; word < mask.size(); ++word) {
    for (int bit = 0; bit < 64; ++bit) {
      if ((mask[word] >> bit & 1) != 0) ids.push_back(static_cast<TokenId>(word * 64 + bit));
    }
  }
  return ids;
}

// How much the token helps an answer to its end.
int Weight(std::string_view bytes, TokenId id, bool is_late) {
  if (id == kStop) return is_late ? 100'000 : 50;
  if (!is_late) return 1;
  const char first = bytes.empty() ? ' ' : bytes.front();
  if (first == '"' || first == ']' || first == '}' || first == '<') return 2'000;
  if (first == '[' || first == '{' || first == ',') return 0;
  return 1;
}

}  // namespace

std::optional<std::string> RandomAnswer(const tokenizer::Tokenizer& tokenizer,
                                        std::shared_ptr<const grammar::Vocabulary> vocabulary,
                                        std::shared_ptr<const grammar::Grammar> grammar,
                                        std::mt19937_64& random, int64_t tokens_max) {
  grammar::AnswerConstraint constraint(std::move(vocabulary),
                                       {.grammar = std::move(grammar), .stop_tokens = {kStop}});
  std::string text;
  for (int64_t i = 0; i < tokens_max; ++i) {
    const std::vector<TokenId> ids = Listed(constraint.Allowed());
    if (ids.empty()) return std::nullopt;
    std::vector<double> weights;
    for (const TokenId id : ids) {
      weights.push_back(Weight(tokenizer.TokenBytes(id), id, i > 40));
    }
    if (std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 0; })) {
      std::fill(weights.begin(), weights.end(), 1.0);
    }
    const TokenId id =
        ids[std::discrete_distribution<size_t>(weights.begin(), weights.end())(random)];
    if (id == kStop) return text;
    text.append(tokenizer.TokenBytes(id));
    constraint.Accept(id);
  }
  return std::nullopt;
}

}  // namespace fathom
