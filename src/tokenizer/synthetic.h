// A tokenizer.json for checkpoints with random weights: the bytes as tokens, no merges, the control
// tokens of the chat format, and place holders up to the vocabulary size.
#pragma once

#include <cstdint>
#include <string>

namespace fathom::tokenizer {

// Bytes, BOS, EOS and padding: the smallest vocabulary SyntheticTokenizerJson can make.
inline constexpr int64_t kSyntheticVocabMin = 259;

// BOS, EOS and padding are 0, 1 and 2 and the byte tokens 3 to 258, in DeepSeek's order. With
// 129,280 entries, the vocabulary of V4, the control tokens of the chat format have their real
// ids; with any other number they are the last entries, the least needed left out where they do
// not fit.
// CHECKs that vocab_size is at least kSyntheticVocabMin.
std::string SyntheticTokenizerJson(int64_t vocab_size);

}  // namespace fathom::tokenizer
